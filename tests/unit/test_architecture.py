"""Imports go one way: dags -> (processes) -> jobs -> ser_model, schemas; reporting reads published tables."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("dags", "jobs", "ser_model", "schemas", "reporting", "infra")

ALLOWED = {
    "ser_model": set(),
    "schemas": {"ser_model"},
    "jobs": {"ser_model", "schemas"},
    "reporting": {"schemas", "ser_model"},
    "dags": set(),
    "infra": {"jobs", "schemas", "reporting", "ser_model"},
}
EXCEPTIONS = {
    # The step that renders is a job; what it renders is reporting's.
    ("jobs/render_report.py", "reporting"),
    # What the report says of the data, the watch says, too, and so do the metrics.
    ("jobs/watch_model.py", "reporting"),
    ("jobs/run_metrics.py", "reporting"),
    # What a notification says of a day is what the report's summary edition says.
    ("jobs/notifications.py", "reporting"),
    # The SQL prompt finds the warehouse by the jobs' settings.
    ("reporting/sql.py", "jobs"),
    # So does the dashboard, which adds labels to it, and says what is wrong with a setting or a store.
    *(
        (f"reporting/dashboard/{name}.py", "jobs")
        for name in ("__main__", "app", "export", "judge_page", "places", "shared", "tables")
    ),
    # ... and so do the figures that are printed, whose errors are the jobs'.
    ("reporting/analysis.py", "jobs"),
    # Whom nobody may call back any more, the jobs know.
    ("reporting/win_back.py", "jobs"),
}
HEAVY = {
    "pyspark",
    "pandas",
    "numpy",
    "pyarrow",
    "librosa",
    "onnxruntime",
    "great_expectations",
    "boto3",
    "duckdb",
    "torch",
}


def imports(file: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def sources() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def test_there_is_something_to_check() -> None:
    assert {file.relative_to(ROOT).parts[0] for file in sources()} == set(PACKAGES)


@pytest.mark.parametrize("file", sources(), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_one_way(file: Path) -> None:
    place = file.relative_to(ROOT).as_posix()
    package = place.split("/")[0]
    ours = imports(file) & set(PACKAGES) - {package}
    excused = {name for path, name in EXCEPTIONS if path == place}
    assert ours <= ALLOWED[package] | excused


@pytest.mark.parametrize("file", sorted((ROOT / "dags").glob("*.py")), ids=lambda file: file.name)
def test_dags_import_nothing_heavy(file: Path) -> None:
    assert not imports(file) & HEAVY


@pytest.mark.parametrize("name", ["taxonomy", "features", "classifier", "audio", "speech", "prosody", "recording"])
def test_what_workers_import_needs_no_torch_and_no_librosa_at_import(name: str) -> None:
    tree = ast.parse((ROOT / "ser_model" / f"{name}.py").read_text())
    top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    top |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not {module.split(".")[0] for module in top} & {"torch", "librosa", "pandas"}


def test_only_settings_read_the_environment() -> None:
    """In jobs, ser_model and schemas; four modules set variables of the libraries that they start."""
    names = ("jobs/__init__.py", "jobs/spark.py", "schemas/expectations.py", "ser_model/__main__.py")
    setters = {ROOT / name for name in names}
    for package in ("jobs", "ser_model", "schemas"):
        for file in (ROOT / package).rglob("*.py"):
            text = file.read_text()
            reads = "os.environ" in text or "os.getenv" in text
            assert not reads or file in setters or file == ROOT / "jobs" / "settings.py", file
