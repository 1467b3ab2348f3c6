"""What comes from outside is data: nothing here unpickles it, evaluates it, or hands it to a shell; no path in it leads
out of its location."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.errors import StorageAccessDenied
from jobs.staging import RunStaging
from jobs.storage import LocalStorage

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = [
    file
    for package in ("dags", "jobs", "ser_model", "schemas", "reporting", "infra")
    for file in sorted((ROOT / package).rglob("*.py"))
]
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle", "pty", "commands"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.startfile", "tempfile.mktemp"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "pandas.read_pickle", "pd.read_pickle"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell", "runpy.run_path"),
    *("DeltaTable.vacuum", "pyspark.cloudpickle.loads"),
}
ARGUMENTS = {("shell", True), ("allow_pickle", True), ("weights_only", False), ("verify", False), ("autoescape", False)}
NEEDS = {"torch.load": ("weights_only", True)}


def dangers(source: str) -> Iterator[str]:
    """What a source does that outside data must never come to."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {(word.arg, word.value.value) for word in node.keywords if isinstance(word.value, ast.Constant)}
            if called in CALLS:
                yield called
            yield from (f"{name}={value}" for name, value in given & ARGUMENTS)
            if called in NEEDS and NEEDS[called] not in given:
                yield f"{called} without {NEEDS[called][0]}"
            text = bool(node.args) and isinstance(node.args[0], ast.JoinedStr | ast.Constant | ast.BinOp)
            if called.startswith("subprocess.") and text:
                yield f"{called} of one string"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "yaml.load(f)",
        "eval(x)",
        "subprocess.run(c, shell=True)",
        "subprocess.Popen(f'ls {x}')",
        "np.load(f, allow_pickle=True)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "os.system(c)",
        "Environment(autoescape=False)",
    ],
)
def test_the_search_finds_what_it_is_to_find(source: str) -> None:
    assert list(dangers(source))


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_outside_is_run_or_unpickled(file: Path) -> None:
    assert list(dangers(file.read_text())) == []


def test_scripts_evaluate_nothing() -> None:
    scripts = [file for file in (ROOT / "infra").rglob("*") if file.is_file() and file.read_bytes()[:2] == b"#!"]
    assert len(scripts) >= 3
    for file in scripts:
        assert not {"eval", "$(curl", "source <("} & set(file.read_text().split()), file


# Paths

ESCAPING = ["../up", "a/../../up", "/etc/passwd", "a/..", "..", "a\0b"]


@pytest.mark.parametrize("path", ESCAPING)
@pytest.mark.parametrize(
    "use",
    [
        lambda storage, path: storage.read(path),
        lambda storage, path: storage.open_binary(path),
        lambda storage, path: storage.open_input(path),
        lambda storage, path: storage.open_output(path),
        lambda storage, path: storage.write(path, b"x"),
        lambda storage, path: storage.create(path, b"x"),
        lambda storage, path: storage.delete(path),
        lambda storage, path: list(storage.files(path)),
        lambda storage, path: storage.delete_below(path),
        lambda storage, path: storage.copy_in(storage, path, "here"),
        lambda storage, path: storage.copy_in(storage, "there", path),
    ],
    ids=["read", "open", "input", "output", "write", "create", "delete", "list", "delete below", "from", "to"],
)
def test_no_path_leads_out_of_its_location(
    tmp_path: Path, path: str, use: Callable[[LocalStorage, str], object]
) -> None:
    (tmp_path / "up").write_text("not yours")
    storage = LocalStorage(tmp_path / "in")
    storage.write("there", b"x")
    with pytest.raises(StorageAccessDenied, match="leads out of"):
        use(storage, path)
    assert {file.name for file in tmp_path.iterdir()} == {"in", "up"}
    assert (tmp_path / "up").read_text() == "not yours"


@pytest.mark.parametrize("path", ["a", "a/b..c", "..a/b", "call_date=2026-11-20/part-1.parquet", "a b/ü:%2e%2e/c"])
def test_other_paths_are_taken_as_they_are(tmp_path: Path, path: str) -> None:
    storage = LocalStorage(tmp_path)
    storage.write(path, b"x")
    assert [file.path for file in storage.files()] == [path]


def test_a_manifest_that_was_tampered_with_reads_nothing_else(tmp_path: Path) -> None:
    from datetime import date

    from schemas.staging import PLAN

    staging = RunStaging(LocalStorage(tmp_path / "staging"), date(2026, 11, 20), "run-1")
    staging.write_table(PLAN, PLAN.empty())
    manifest = tmp_path / "staging" / staging.folder / "plan" / "_manifest.json"
    manifest.write_text(
        manifest.read_text().replace(
            '"files": []', '"files": [{"path": "../../../up.parquet", "rows": 1, "size_bytes": 1}]'
        )
    )
    with pytest.raises(StorageAccessDenied):
        staging.read_table(PLAN)
