"""A software bill of materials of the locked environments: ``python -m infra.sbom FOLDER`` (make sbom).

Writes ``<environment>.cdx.json``, CycloneDX 1.6, for each lock in ``requirements/``: every package with its version,
where it is needed, and the SHA-256 of every file that may be installed for it. Reads the locks and nothing else, so it
says the same on every machine.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.command import run_command

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
_PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?$"
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Package:
    """A line of a lock: a package, the environments that need it (PEP 508), and the hashes of its files."""

    name: str
    version: str
    marker: str | None
    sha256: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{re.sub(r'[-_.]+', '-', self.name).lower()}@{self.version}"

    def component(self) -> dict[str, Any]:
        """Return it as CycloneDX has it: the hashes are of its distributions, of which one is installed."""
        files = [
            {"type": "distribution", "url": self.purl, "hashes": [{"alg": "SHA-256", "content": each}]}
            for each in self.sha256
        ]
        needed = [] if self.marker is None else [{"name": "callmood:needed-where", "value": self.marker}]
        return {
            "type": "library",
            "bom-ref": self.purl if self.marker is None else f"{self.purl}#{self.marker}",
            "name": self.name,
            "version": self.version,
            "purl": self.purl,
            "externalReferences": files,
            **({"properties": needed} if needed else {}),
        }


def packages(lock: str) -> Iterator[Package]:
    """Read a lock.

    Raises
    ------
    ValueError
        Where a line is neither a pinned package with hashes nor a comment: an inventory with gaps is none.
    """
    blocks = re.split(r"\n(?=\S)", "\n".join(line for line in lock.splitlines() if not line.lstrip().startswith("#")))
    for block in filter(None, map(str.strip, blocks)):
        first = block.partition("\n")[0].strip()
        pin, hashes = _PIN.match(first), tuple(_HASH.findall(block))
        if pin is None or not hashes:
            raise ValueError(f"found {first!r} in a lock, expected name==version with hashes; run make lock")
        yield Package(pin["name"], pin["version"], pin["marker"], hashes)


def bill(environment: str, lock: str, version: str) -> dict[str, Any]:
    """Make the CycloneDX document of a lock; the same lock gives the same document."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'callmood {environment} {lock}')}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": f"callmood-{environment}",
                "name": f"callmood-{environment}",
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [package.component() for package in packages(lock)],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write the documents."""
    import tomllib

    parser = argparse.ArgumentParser(prog="python -m infra.sbom", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the documents go")
    folder: Path = parser.parse_args(argv).folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"{folder} cannot be a folder: {error.strerror}")
    version = str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    for lock in sorted(LOCKS.glob("*.txt")):
        document = bill(lock.stem, lock.read_text(encoding="utf-8"), version)
        file = folder / f"{lock.stem}.cdx.json"
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"{file}: {len(document['components'])} packages\n")
    return 0


if __name__ == "__main__":
    run_command(main)
