"""The taxonomy of reason codes: every code that the sources raise is in it, and every code in it is raised."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas import reasons
from schemas.reasons import REASONS

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = [file for package in ("jobs", "ser_model", "reporting") for file in sorted((ROOT / package).glob("*.py"))]
NODES = [node for file in SOURCES for node in ast.walk(ast.parse(file.read_text()))]


def constant(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def errors() -> dict[str, str]:
    """The reason code of each class of error that ends in a row of a recording, by the class's name."""
    classes = [node for node in NODES if isinstance(node, ast.ClassDef)]
    kinds, bases = {}, {"RecordingError"}
    while found := {
        each.name for each in classes if {ast.unparse(base) for base in each.bases} & bases and each.name not in bases
    }:
        bases |= found
    for each in classes:
        for line in each.body if each.name in bases else ():
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "reason_code":
                kinds[each.name] = constant(line.value) or ""
    return kinds


def raised() -> set[str]:
    """The classes of which an error is made, or whose code is read, anywhere."""
    made = {ast.unparse(node.func) for node in NODES if isinstance(node, ast.Call)}
    return made | {ast.unparse(node.value) for node in NODES if isinstance(node, ast.Attribute)}


def said() -> Iterator[str]:
    """The codes that are written into a row as they are: of a plan's outcome, a dictionary or an argument."""
    for node in NODES:
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Outcome" and len(node.args) > 1:
            yield constant(node.args[1]) or ""
        if isinstance(node, ast.Call):
            yield from (constant(each.value) or "" for each in node.keywords if each.arg == "reason_code")
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            yield from (constant(value) or "" for key, value in pairs if constant(key) == "reason_code")


def test_every_code_is_raised_and_every_code_raised_is_in_the_taxonomy() -> None:
    by_class = {code for name, code in errors().items() if name in raised()}
    assert by_class | set(said()) - {""} == set(REASONS)


def test_no_error_of_a_recording_is_without_use() -> None:
    assert set(errors()) <= raised()
    assert len(errors()) > 10


@pytest.mark.parametrize("code", REASONS)
def test_a_reason_is_said_in_plain_sentences(code: str) -> None:
    reason = REASONS[code]
    for sentence in (reason.why, reason.remedy):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
    # Only what should have been scored is tried again.
    assert not reason.retried or reason.outcome == "quarantined"


def test_the_page_is_what_the_code_says() -> None:
    written = (ROOT / "docs" / "reason-codes.md").read_text(encoding="utf-8")
    assert written == reasons.render(), "run: make docs"
