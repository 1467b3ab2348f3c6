"""What the demo says of a folder of recordings before it starts anything: the day to run, or what to give instead."""

from __future__ import annotations

import io
import re
from datetime import date
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from infra.demo.__main__ import _day, _open_layouts, main
from infra.demo.errors import DemoError

LATE = "CallRecordings/2026/11/20/late_20261120T23:30_UTC.wav"
EARLY = "CallRecordings/2026/11/21/early_20261121T08:00_UTC.wav"
IDS = {"name": "ids", "pattern": r"^(?P<contact_id>\w+)\.mp3$"}


@pytest.fixture
def layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two layouts, one whose names say a time and one whose names do not."""
    monkeypatch.delenv("CALLMOOD_TIME_ZONE", raising=False)
    file = tmp_path / "ids.yaml"
    file.write_text(yaml.safe_dump(IDS))
    return f"amazon-connect,{file}"


def folder_of(tmp_path: Path, names: list[str]) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("names", "asked", "zone", "expected"),
    [
        ([LATE], None, "UTC", "2026-11-20"),
        ([LATE], None, "Europe/Berlin", "2026-11-21"),
        ([LATE, "id7.mp3"], None, "UTC", "2026-11-20"),
        ([LATE, EARLY], "2026-11-21", "UTC", "2026-11-21"),
        # Names without a time take the day that is asked for.
        (["id7.mp3"], "2026-01-01", "UTC", "2026-01-01"),
        ([LATE, "id7.mp3"], "2026-01-01", "UTC", "2026-01-01"),
    ],
)
def test_the_day_to_run(
    names: list[str],
    asked: str | None,
    zone: str,
    expected: str,
    layouts: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CALLMOOD_TIME_ZONE", zone)
    said = io.StringIO()
    day = asked and date.fromisoformat(asked)
    found = _day(folder_of(tmp_path, names), _open_layouts(layouts), day or None, Console(file=said))
    assert (found.isoformat(), said.getvalue()) == (expected, "")


@pytest.mark.parametrize(
    ("names", "asked", "says"),
    [
        ([], None, "holds files: 0, of them audio: 0; named as a layout says (amazon-connect, ids): none. Expected a"),
        (["notes.txt"], "2026-11-20", "holds files: 1, of them audio: 0"),
        (
            ["a-b.wav", "c-d.wav"],
            "2026-11-20",
            "audio: 2; named as a layout says (amazon-connect, ids): none. Describe",
        ),
        ([LATE, EARLY], None, "recordings of the days 2026-11-20 (1), 2026-11-21 (1); choose one: DATE=YYYY-MM-DD"),
        ([LATE], "2026-11-19", "recordings of the days 2026-11-20 (1); choose one: DATE=YYYY-MM-DD"),
        (["id7.mp3"], None, "do not say when the calls were; give the day: DATE=YYYY-MM-DD"),
    ],
)
def test_a_night_that_would_have_nothing_to_do_is_not_started(
    names: list[str], asked: str | None, says: str, layouts: str, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, names)
    with pytest.raises(DemoError, match=re.escape(says)):
        _day(folder, _open_layouts(layouts), date.fromisoformat(asked) if asked else None, Console(file=io.StringIO()))


def test_audio_that_no_layout_reads_is_named(layouts: str, tmp_path: Path) -> None:
    said = io.StringIO()
    folder = folder_of(tmp_path, [LATE, "memo-1.wav", "memo-2.m4a", "contacts.jsonl"])
    _day(folder, _open_layouts(layouts), None, Console(file=said, soft_wrap=True))
    assert "names no layout reads: 2 of 4; they are quarantined as unknown_layout" in said.getvalue()
    assert "memo" not in said.getvalue()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--layout", "none.yaml"], "none.yaml is not there; expected the path of a YAML file"),
        (["--layout", "amazon-conect"], "layout 'amazon-conect' is unknown; expected amazon-connect, or a file"),
        (["--layout", ","], "CALLMOOD_LAYOUTS is empty"),
        (["--recordings", "nowhere"], "RECORDINGS=nowhere is not a folder; expected one of recordings"),
    ],
)
def test_what_is_given_is_looked_at_before_anything_is_made(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.demo.__main__.unwind_on_signals", lambda: None)
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert says in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_time_zone_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLMOOD_TIME_ZONE", "Berlin")
    with pytest.raises(DemoError, match="expected one such as Europe/Berlin"):
        _open_layouts("amazon-connect")
