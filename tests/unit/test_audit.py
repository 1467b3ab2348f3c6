"""The audit of the locks: what uv is asked, and what is said of its answer."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from infra import audit
from infra.sbom import LOCKS, packages


@pytest.mark.parametrize("lock", sorted(LOCKS.glob("*.txt")), ids=lambda lock: lock.stem)
def test_every_pin_of_a_lock_is_asked_about(lock: Path) -> None:
    needed = tomllib.loads(audit.project(lock.read_text()))["project"]["dependencies"]
    assert [each.partition(" ; ")[0] for each in needed] == [
        f"{each.name}=={each.version}" for each in packages(lock.read_text())
    ]
    assert [each.partition(" ; ")[2] or None for each in needed] == [each.marker for each in packages(lock.read_text())]


@pytest.mark.parametrize(
    ("ends_with", "status", "says"),
    [
        (0, 0, "jobs.txt: no known vulnerability"),
        (1, audit.FOUND, "rich 14.0.0 has 1 known vulnerability"),
        (2, audit.NOT_ASKED, "was not audited, and none after it: https://api.osv.dev/ or"),
    ],
)
def test_what_uv_answers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    ends_with: int,
    status: int,
    says: str,
) -> None:
    uv = tmp_path / "uv"
    found = "echo rich 14.0.0 has 1 known vulnerability" if ends_with == 1 else ":"
    uv.write_text(f"#!/bin/sh\n{found}\nexit {ends_with}\n")
    uv.chmod(0o755)
    monkeypatch.setattr(audit, "UV", uv)
    assert audit.main([]) == status
    said = capfd.readouterr()
    assert says in said.out + said.err
