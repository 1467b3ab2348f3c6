"""The pages on privacy: what they name is there, their links lead somewhere, and drafts say that they are drafts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.settings import ROOT, Settings

DOCS = ROOT / "docs"
DRAFTS = sorted((DOCS / "compliance").glob("*.md"))
PAGES = [DOCS / "privacy.md", DOCS / "threat-model.md", ROOT / "SECURITY.md", *DRAFTS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere_and_settings_and_tests_are_there(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (page.parent / link).exists(), link
    for name in re.findall(r"`CALLMOOD_([A-Z0-9_]+)", text):
        assert name.lower() in Settings.model_fields, name
    for path in re.findall(r"`((?:tests|infra|jobs|requirements)/[\w/.]*)`", text):
        assert (ROOT / path).exists(), path
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    assert set(re.findall(r"(?:`|^ +)make ([a-z]+)", text)) <= targets


@pytest.mark.parametrize("page", DRAFTS, ids=lambda page: page.name)
def test_a_draft_says_so_in_its_first_lines(page: Path) -> None:
    assert re.search(r"\*\*[Aa]? ?draft.*not legal advice", " ".join(page.read_text().splitlines()[:4]))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("staging_days", "`CALLMOOD_STAGING_DAYS` (7)"),
        ("features_days", "`CALLMOOD_FEATURES_DAYS` (1)"),
    ],
)
def test_lifetimes_are_those_of_the_settings(setting: str, said: str) -> None:
    assert said in (DOCS / "compliance" / "record-of-processing.md").read_text()
    assert said.endswith(f"({Settings.model_fields[setting].default})")


def test_what_is_not_classified_unless_somebody_says_so() -> None:
    assert Settings.model_fields["roles"].default == ("customer",)
    assert not Settings.model_fields["report_by_agent"].default
    assert not Settings.model_fields["plain_agent_ids"].default
    assert Settings.model_fields["attributes"].default == ()
