"""The runbook leaves out no reason code, no error of the jobs and no status, and names only commands that are there."""

from __future__ import annotations

import re

import pytest

from jobs import errors
from jobs.settings import ROOT, Settings, StoreSettings
from schemas.quarantine import STATUSES as QUARANTINE_STATUSES
from schemas.reasons import REASONS
from schemas.runs import STATUSES

PAGE = (ROOT / "docs" / "runbook.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))
# Errors that end one recording and not a step have reason codes; this is the base of the others.
ERRORS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.JobError) and kind is not errors.JobError
}


def first_cells(section: str) -> list[str]:
    return re.findall(r"^\| ([^|]+) \|", SECTIONS[section], flags=re.MULTILINE)


def test_every_reason_code_has_one_line() -> None:
    listed = [code for cell in first_cells("A recording was not scored") for code in re.findall(r"`(\w+)`", cell)]
    assert sorted(listed) == sorted(REASONS)


def test_every_error_that_stops_a_step_has_a_line() -> None:
    cells = re.findall(r"^\| [^|]+ \| ([A-Z]\w+(?:, [A-Z]\w+)*) \|", SECTIONS["A night stopped"], flags=re.MULTILINE)
    assert {name for cell in cells for name in cell.split(", ")} == ERRORS


def test_every_status_that_is_not_as_it_should_be_has_a_line() -> None:
    cells = " ".join(first_cells("A night was published, and something is off"))
    assert {status for status in STATUSES if status != "published"} <= set(re.findall(r"`(\w+)`", cells))
    assert "given_up" in QUARANTINE_STATUSES and "`given_up`" in cells


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", PAGE))))
def test_a_command_is_one_of_the_makefile(target: str) -> None:
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"CALLMOOD_([A-Z_]+)", PAGE))))
def test_a_setting_is_one_of_the_jobs(setting: str) -> None:
    assert setting.lower() in {*Settings.model_fields, *StoreSettings.model_fields}


@pytest.mark.parametrize("done", ["clear", "rerun", "force", "backfill"])
def test_what_each_does_to_published_tables_is_said(done: str) -> None:
    assert any(cell.startswith(f"**{done}**") for cell in first_cells("What clear, rerun, force and backfill do"))
