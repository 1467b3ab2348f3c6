"""Known vulnerabilities of the locked packages: ``python -m infra.audit`` (make audit).

``uv audit`` asks the database of OSV about each lock in ``requirements/``. It audits projects, not lists of pins: so
each lock is made a project that needs just these. Needs a network: the database, and the registry of ``make setup``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from infra.sbom import LOCKS, ROOT, packages
from jobs.command import run_command

UV = ROOT / ".venv" / "uv" / "bin" / "uv"
DATABASE = "https://api.osv.dev/"
FOUND, NOT_ASKED = 1, 2
"""The exit statuses: there are vulnerabilities; the database could not be asked."""


def project(lock: str) -> str:
    """The pyproject.toml of a project that needs the packages of a lock, and no others."""
    pins = (f"{each.name}=={each.version}{f' ; {each.marker}' if each.marker else ''}" for each in packages(lock))
    needed = "".join(f"    {pin!r},\n" if '"' in pin else f'    "{pin}",\n' for pin in pins)
    header = '[project]\nname = "audited"\nversion = "0"\nrequires-python = ">=3.11,<3.14"\n'
    return f"{header}dependencies = [\n{needed}]\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Audit every lock, and say what was found; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.audit", description=__doc__)
    parser.add_argument("--database", default=DATABASE, help="another database of OSV's kind")
    database: str = parser.parse_args(argv).database
    status = 0
    for lock in sorted(LOCKS.glob("*.txt")):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "pyproject.toml").write_text(project(lock.read_text(encoding="utf-8")), encoding="utf-8")
            command = [str(UV), "audit", "--quiet", "--preview-features", "audit-command", "--service-url", database]
            done = subprocess.run([*command, "--directory", folder], capture_output=True, text=True, check=False)
        said = f"{done.stdout}{done.stderr}".strip()
        if done.returncode not in (0, FOUND):
            sys.stderr.write(
                f"{said}\naudit: {lock.name} was not audited, and none after it: {database} or the package registry "
                "cannot be reached from here. Run it where there is a network; make sbom writes what another tool can "
                "audit.\n"
            )
            return NOT_ASKED
        sys.stdout.write(f"{lock.name}: {said or 'no known vulnerability'}\n")
        status = max(status, done.returncode)
    return status


if __name__ == "__main__":
    run_command(main)
