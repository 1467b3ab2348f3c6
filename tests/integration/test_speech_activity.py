"""Speech activity on the shared calls, clean and degraded: the bounds that docs/speech-activity.md shows to be met."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.speech_activity import Call, conditions, read_calls, table

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def calls(shared_dir: Path) -> list[Call]:
    found = read_calls(shared_dir / "calls" / "scripted")
    assert len(found) == 14
    return found


@pytest.mark.parametrize(
    ("name", "missed", "false"),
    [
        ("as recorded", 0.08, 0.04),
        ("white noise at 20 dB, echo at -20 dB", 0.10, 0.05),
        ("pink noise at 20 dB, echo at -20 dB", 0.10, 0.05),
        ("echo at -15 dB", 0.08, 0.04),
        ("white noise at 10 dB", 0.15, 0.05),
        ("speech at -45 dBFS", 0.09, 0.05),
        ("hold music (pop)", 0.08, 0.04),
        ("ringing, DTMF and beeps", 0.09, 0.04),
    ],
)
def test_speech_is_found_and_nothing_else(calls: list[Call], name: str, missed: float, false: float) -> None:
    found = table(calls, [name])[name]
    assert found.missed <= missed
    assert found.false <= false
    assert found.agent <= 0.001
    assert found.agent_false <= 0.05


def test_the_page_has_every_condition() -> None:
    page = (Path(__file__).parents[2] / "docs" / "speech-activity.md").read_text()
    assert [name for name in conditions() if f"| {name} |" not in page] == []
