"""The bill of materials: every package of every lock, as CycloneDX asks for it."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest

from infra.sbom import LOCKS, bill, main, packages

ENVIRONMENTS = sorted(lock.stem for lock in LOCKS.glob("*.txt"))


def test_every_environment_is_there(tmp_path: Path) -> None:
    assert {"jobs", "airflow", "java", "dev"} <= set(ENVIRONMENTS)
    assert main([str(tmp_path)]) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(f"{name}.cdx.json" for name in ENVIRONMENTS)
    for file in tmp_path.iterdir():
        assert json.loads(file.read_text())["components"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_pinned_package_is_in_it_with_its_hashes(environment: str) -> None:
    lock = (LOCKS / f"{environment}.txt").read_text()
    document = bill(environment, lock, "1.0")
    pinned = re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[.*?\])?==([^\s;\\]+)", lock)
    assert [(each["name"], each["version"]) for each in document["components"]] == pinned
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.6", 1)
    assert uuid.UUID(document["serialNumber"].removeprefix("urn:uuid:"))
    references = [each["bom-ref"] for each in document["components"]]
    assert len(set(references)) == len(references)
    hashes = [
        each["content"]
        for component in document["components"]
        for file in component["externalReferences"]
        for each in file["hashes"]
    ]
    assert hashes == re.findall(r"sha256:([0-9a-f]{64})", lock)
    assert document == bill(environment, lock, "1.0")


def test_where_a_package_is_needed_is_said() -> None:
    lock = "Colo_rama==0.4 ; sys_platform == 'win32' \\\n    --hash=sha256:" + "a" * 64 + "\n    # via x\n"
    (package,) = packages(lock)
    assert (package.purl, package.marker) == ("pkg:pypi/colo-rama@0.4", "sys_platform == 'win32'")


@pytest.mark.parametrize("line", ["numpy>=2", "numpy==2.4", "-e .", "https://x/y.whl"])
def test_a_lock_with_gaps_is_none(line: str) -> None:
    with pytest.raises(ValueError, match="make lock"):
        list(packages(line))
