"""The jobs as one archive: Spark unpacks it, and its Python runs the jobs where nothing of them is installed.

The archive here holds few packages, so that it is made in seconds; `make package` installs those of a lock.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from infra.package import CODE, archive, copy_code, copy_interpreter
from jobs.settings import ROOT

PACKAGES = ("pyyaml",)

JOB = """\
import json
from pyspark.sql import SparkSession

def where(_):
    import os, sys, jobs.errors, pyspark, yaml
    return [os.getcwd(), sys.prefix, yaml.__file__, jobs.errors.__file__, pyspark.__file__]

spark = SparkSession.builder.getOrCreate()
print("FOUND " + json.dumps(spark.sparkContext.parallelize([0], 1).map(where).first()))
spark.stop()
"""
"""Says where the Python of an executor runs, and where it has its packages, the jobs and Spark from."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with the interpreter, the code, and one package with a part in C."""
    place = tmp_path_factory.mktemp("package")
    folder = place / "folder"
    copy_interpreter(folder)
    copy_code(folder)
    for name in PACKAGES:
        for file in distribution(name).files or ():
            if "__pycache__" not in file.parts and not str(file).startswith(("..", "/")):
                target = folder / "site" / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file.locate(), target)
    archive(folder, place / "callmood.tar.gz")
    shutil.rmtree(folder)
    return place / "callmood.tar.gz"


def environment(**more: str) -> dict[str, str]:
    """Nothing that leads to this checkout, its environment or a Python of this machine."""
    return {"PATH": "/usr/bin:/bin", "HOME": os.environ["HOME"], **more}


def test_it_runs_wherever_it_is_unpacked(package: Path, tmp_path: Path) -> None:
    with tarfile.open(package) as tar:
        tar.extractall(tmp_path / "any where", filter="fully_trusted")  # noqa: S202 - it was made above
    python = tmp_path / "any where" / "bin" / "python"
    code = (
        "import json, ssl, sys, jobs.errors, yaml; print(json.dumps([sys.prefix, jobs.errors.__file__, yaml.__file__]))"
    )
    ended = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, cwd="/", env=environment(), check=False
    )
    assert ended.returncode == 0, ended.stderr
    prefix, *files = map(Path, json.loads(ended.stdout))
    assert prefix == tmp_path / "any where"
    assert [file.relative_to(prefix / "site").parts[0] for file in files] == ["jobs", "yaml"]


def test_what_it_holds_and_what_not(package: Path) -> None:
    with tarfile.open(package) as tar:
        names = set(tar.getnames())
    assert {f"./site/{name}/__init__.py" for name in CODE} <= names
    assert {"./bin/python", "./site/pyproject.toml", "./site/ser_model/models/research/model.onnx"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("./site/tests", "./site/infra"))]


@pytest.mark.spark
@pytest.mark.timeout(600)
def test_spark_runs_a_job_with_its_python(package: Path, tmp_path: Path) -> None:
    """In local-cluster mode: an executor of its own in a folder of its own, as on a cluster."""
    job = tmp_path / "job.py"
    job.write_text(JOB)
    settings = {
        "spark.pyspark.driver.python": sys.executable,
        "spark.pyspark.python": "./environment/bin/python",
        "spark.archives": f"{package}#environment",
        "spark.executor.memory": "512m",
    }
    command = [str(ROOT / "infra" / "spark" / "bin" / "spark-submit"), "--master", "local-cluster[1,1,512]"]
    command += [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    ended = subprocess.run([*command, str(job)], capture_output=True, text=True, cwd=tmp_path, check=False)
    lines = [line.removeprefix("FOUND ") for line in ended.stdout.splitlines() if line.startswith("FOUND ")]
    assert len(lines) == 1, ended.stderr[-3000:]
    folder, prefix, *ours, spark = json.loads(lines[0])
    environment = Path(folder, "environment").resolve()
    assert Path(prefix).resolve() == environment
    for file in ours:
        assert Path(file).resolve().is_relative_to(environment / "site"), file
    # The cluster's, since the archive has none.
    assert not Path(spark).resolve().is_relative_to(environment)
