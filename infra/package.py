"""The jobs as one archive that Spark takes (`spark.archives`): ``python -m infra.package dist`` (make package).

It holds an interpreter, the packages of a lock, and the project's code; nothing of it needs to be installed where it is
unpacked, and it may be unpacked anywhere. Spark itself is not in it: a cluster has its own. The interpreter is the one
that this runs with, so make the archive on a machine like the cluster's: its processor, and a libc that is no newer.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jobs.command import run_command

ROOT = Path(__file__).resolve().parent.parent
CODE = ("jobs", "ser_model", "schemas", "reporting")
OF_THE_CLUSTER = ("pyspark*", "py4j*")
_STDLIB_LEFT_OUT = (
    "site-packages",
    "dist-packages",
    "__pycache__",
    "test",
    "idlelib",
    "tkinter",
    "ensurepip",
    "config-*",
)
_LAUNCHER = """\
#!/bin/sh
# The archive's Python, wherever it was unpacked: its packages come first.
home=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
export PYTHONPATH="$home/site${{PYTHONPATH:+:$PYTHONPATH}}"
export LD_LIBRARY_PATH="$home/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
exec "$home/bin/{interpreter}" "$@"
"""


def copy_interpreter(folder: Path) -> None:
    """Copy the running interpreter with its standard library; ``bin/python`` starts it."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "bin").mkdir(parents=True)
    # What an environment's interpreter is a link to, or this one.
    shutil.copy2(Path(sys.executable).resolve(), folder / "bin" / version)
    shutil.copytree(
        sysconfig.get_path("stdlib"),
        folder / "lib" / version,
        ignore=shutil.ignore_patterns(*_STDLIB_LEFT_OUT),
        symlinks=False,
    )
    shared = Path(str(sysconfig.get_config_var("LIBDIR")), str(sysconfig.get_config_var("INSTSONAME")))
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and shared.is_file():
        shutil.copy2(shared, folder / "lib" / shared.name)
    launcher = folder / "bin" / "python"
    launcher.write_text(_LAUNCHER.format(interpreter=version), encoding="utf-8")
    launcher.chmod(0o755)


def install(lock: Path, folder: Path) -> None:
    """Install a lock's packages, but for the cluster's.

    Raises
    ------
    subprocess.CalledProcessError
        uv could not; its own words are on standard error.
    """
    site = folder / "site"
    uv = ROOT / ".venv" / "uv" / "bin" / "uv"
    command = [str(uv), "pip", "install", "--quiet", "--python", sys.executable, "--target", str(site)]
    subprocess.run([*command, "--require-hashes", "-r", str(lock)], check=True)
    for pattern in OF_THE_CLUSTER:
        for found in site.glob(pattern):
            shutil.rmtree(found)
    shutil.rmtree(site / "bin", ignore_errors=True)  # scripts that begin with this machine's paths


def copy_code(folder: Path) -> None:
    """Copy the project's packages, and the file that says its version."""
    for name in CODE:
        shutil.copytree(ROOT / name, folder / "site" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", folder / "site")


def archive(folder: Path, file: Path) -> None:
    """Put a folder's content into a .tar.gz that is whole or not there."""
    part = file.with_name(f".{file.name}.part")
    with tarfile.open(part, "w:gz", compresslevel=1) as tar:
        tar.add(folder, arcname=".")
    part.replace(file)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the archive, and beside it the file that Spark starts."""
    parser = argparse.ArgumentParser(prog="python -m infra.package", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where callmood.tar.gz and run_step.py go")
    out: Path = parser.parse_args(argv).folder.absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"{out} cannot be a folder: {error.strerror}")
    with tempfile.TemporaryDirectory(dir=out, prefix=".package-") as made:
        folder = Path(made)
        copy_interpreter(folder)
        install(ROOT / "requirements" / "jobs.txt", folder)
        copy_code(folder)
        archive(folder, out / "callmood.tar.gz")
    shutil.copy2(ROOT / "infra" / "spark" / "run_step.py", out)
    size_mb = (out / "callmood.tar.gz").stat().st_size / 1e6
    sys.stdout.write(
        f"{out / 'callmood.tar.gz'}: {size_mb:.0f} MB, for Spark's spark.archives\n{out / 'run_step.py'}\n"
    )
    return 0


if __name__ == "__main__":
    run_command(main)
