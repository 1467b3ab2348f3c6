"""Logs name nobody, whatever goes wrong, unless they are asked to."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import discretion
from jobs.discretion import DiscreetFormatter, file_name, of, show_ids

ID = "0a1b2c3d-1111-2222-3333-444455556666"


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    show_ids(False)


def logged(error: BaseException) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(DiscreetFormatter("%(levelname)s %(message)s"))
    log = logging.Logger("test")
    log.addHandler(handler)
    try:
        raise error
    except BaseException:
        log.exception("it failed")
    return stream.getvalue()


def nested() -> BaseException:
    try:
        try:
            raise KeyError(ID)
        except KeyError as error:
            raise ValueError(f"no {ID}") from error
    except ValueError as error:
        return error


@pytest.mark.parametrize("error", [ValueError(ID), KeyError(ID), nested(), OSError(2, "No such file", f"/s/{ID}.wav")])
def test_a_traceback_says_where_and_of_which_type_but_not_of_whom(error: BaseException) -> None:
    found = logged(error)
    assert ID not in found
    assert type(error).__name__ in found
    assert f'File "{__file__}"' in found
    if error.__cause__ is not None:
        assert type(error.__cause__).__name__ in found
    show_ids(True)
    assert ID in logged(error)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2026/11/20/contacts-00.jsonl", "2026/11/20/contacts-00.jsonl"),
        ("contacts_20261120T0800.jsonl", "contacts_20261120T0800.jsonl"),
        (f"2026/11/20/{ID}.json", "2026/11/20/***.json"),
        ("surveys/+15550100200.csv", "surveys/***.csv"),
    ],
)
def test_what_looks_like_an_id_in_a_files_name_is_masked(name: str, expected: str) -> None:
    assert file_name(name) == expected
    show_ids(True)
    assert file_name(name) == name


def test_a_recordings_address_is_named_only_on_demand() -> None:
    assert of("s3://r/a.wav") == ""
    show_ids(True)
    assert of("s3://r/a.wav") == ": s3://r/a.wav"


def test_an_unexpected_error_of_a_step_does_not_name_anyone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither in its log nor in its marker, from where Airflow has it; with --debug-ids in its log."""
    from jobs.step import step_main

    for name in ("staging", "warehouse", "reports"):
        monkeypatch.setenv(f"CALLMOOD_{name.upper()}", str(tmp_path))
    monkeypatch.setenv("CALLMOOD_RECORDINGS", "s3://r")
    monkeypatch.setattr(logging.root, "handlers", [])

    def fails(_: object) -> dict[str, float]:
        raise KeyError(ID)

    arguments = ["--call-date", "2026-11-20", "--run-id", "run-1"]
    assert step_main("plan_recordings", fails, None, arguments) == 75
    said = capsys.readouterr().err
    assert "KeyError" in said
    assert ID not in said + "".join(file.read_text() for file in tmp_path.rglob("*.json"))
    assert step_main("plan_recordings", fails, None, [*arguments, "--debug-ids"]) == 75
    assert ID in capsys.readouterr().err
    assert discretion.ids_are_shown()
