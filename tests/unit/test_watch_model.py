"""The weekly watch: a golden set scored again by the same model and by another, and the data's drift said."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import soundfile
from small_models import WEIGHTS, network, write_model

from jobs import watch_model
from jobs.command import EXIT_PERMANENT
from jobs.errors import DamagedFile, ModelChanged, SettingsError
from jobs.storage import LocalStorage
from jobs.watch_model import Golden, watch_golden_set
from reporting.drift import Profile

LAST = date(2026, 11, 20)


@pytest.fixture
def golden(tmp_path: Path, voice: Callable[..., Any]) -> Path:
    """Three clips, and two files that are none."""
    folder = tmp_path / "golden"
    (folder / "more").mkdir(parents=True)
    for number, pitch_hz in enumerate((110, 180, 260)):
        path = folder / ("more" if number else ".") / f"contact-{number}.wav"
        soundfile.write(path, voice(3.0, pitch_hz=pitch_hz), 8000)
    (folder / "bad.wav").write_bytes(b"RIFF no sound")
    (folder / "labels.csv").write_text("file,emotion")
    return folder


def kept(warehouse: LocalStorage) -> dict[str, dict[str, str]]:
    return {file.path: json.loads(warehouse.read(file.path))["emotions"] for file in warehouse.files("_golden")}


def test_the_same_model_says_the_same_and_another_is_compared(
    golden: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse = LocalStorage(tmp_path / "warehouse")
    model = str(write_model(tmp_path / "model"))
    first = watch_golden_set(golden, model, warehouse)
    assert (first.model_before, first.clips, first.compared) == (None, 3, 0)
    assert "1 clips of the golden set cannot be scored" in caplog.text
    again = watch_golden_set(golden, model, warehouse)
    assert again == Golden(first.model_id, first.model_id, 3, 3, 0)
    assert again.sentence == f"{first.model_id} finds another emotion than before in 0 of 3 clips (0.0%)."
    (said,) = kept(warehouse).values()
    assert "contact" not in json.dumps(kept(warehouse)), "clips are named by hashes of their content"

    # The other prefers what this one likes least.
    other = watch_golden_set(golden, str(write_model(tmp_path / "other", network(weights=-WEIGHTS))), warehouse)
    assert other == Golden(other.model_id, first.model_id, 3, 3, 3)
    assert other.sentence.endswith(f"finds another emotion than by {first.model_id} in 3 of 3 clips (100.0%).")
    assert len(kept(warehouse)) == 2

    # A clip that is new is taken in, one that is gone is no matter.
    shutil.copy(golden / "contact-0.wav", tmp_path / "gone.wav")
    (golden / "contact-0.wav").write_bytes((golden / "more" / "contact-1.wav").read_bytes() + b"\0\0")
    assert watch_golden_set(golden, model, warehouse).compared == 2
    assert set(kept(warehouse)[f"_golden/{first.model_id}.json"]) > set(said)


def test_a_model_that_contradicts_itself_is_an_error(golden: Path, tmp_path: Path) -> None:
    warehouse = LocalStorage(tmp_path / "warehouse")
    model = str(write_model(tmp_path / "model"))
    watch_golden_set(golden, model, warehouse)
    ((path, said),) = kept(warehouse).items()
    changed = {clip: "sad" if number == 0 else emotion for number, (clip, emotion) in enumerate(said.items())}
    warehouse.write(path, json.dumps({"scored_at": "2026-11-20T07:00:00.000000+00:00", "emotions": changed}).encode())
    for _ in range(2):
        with pytest.raises(ModelChanged, match=r"in 1 of 3 clips \(33.3%\). The same model has to say the same"):
            watch_golden_set(golden, model, warehouse)
    assert kept(warehouse) == {path: changed}, "it is no other the next week"
    warehouse.delete(path)
    assert watch_golden_set(golden, model, warehouse).model_before is None


@pytest.mark.parametrize("content", [b"", b"{", b"1", b"\xff"])
def test_a_damaged_record_of_the_set_is_named(golden: Path, tmp_path: Path, content: bytes) -> None:
    warehouse = LocalStorage(tmp_path / "warehouse")
    warehouse.write("_golden/other.json", content)
    with pytest.raises(DamagedFile, match=r"_golden/other\.json is damaged.* restore it"):
        watch_golden_set(golden, str(write_model(tmp_path / "model")), warehouse)


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"CALLMOOD_GOLDEN_SET: found no clip that can be scored in {tmp_path}"):
        watch_golden_set(tmp_path, str(write_model(tmp_path / "model")), LocalStorage(tmp_path / "warehouse"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CALLMOOD_RECORDINGS", "s3://recordings")
    for name in ("staging", "warehouse", "reports"):
        monkeypatch.setenv(f"CALLMOOD_{name.upper()}", str(tmp_path / name))
    return tmp_path


@pytest.mark.parametrize(
    ("loud", "says", "level", "told"),
    [
        (60.0, "Emotions and levels are as on the 28 days before.", logging.INFO, []),
        # Somewhat unlike is for who looks at the log.
        (40.0, "somewhat unlike the 28 days before", logging.INFO, []),
        (0.0, "much unlike", logging.WARNING, [f"The data of {LAST - timedelta(6)} to {LAST} have moved: levels"]),
    ],
)
def test_the_last_seven_days_are_compared_with_those_before(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    loud: float,
    says: str,
    level: int,
    told: list[str],
) -> None:
    class View:
        call_dates = (LAST - timedelta(40), LAST)

    def profiles(_: Any, days: Any) -> dict[date, Profile]:
        assert (days[0], days[-1], len(days)) == (LAST - timedelta(34), LAST, 35)
        usual = {"emotions": {"neutral": 80.0, "angry": 20.0}, "levels": {"loud": 60.0, "soft": 40.0}}
        others: dict[str, dict[str, float]] = {"confidence": {}, "codecs": {}, "coverage": {}}
        now = {**usual, "levels": {"loud": loud, "soft": 100.0 - loud}}
        return {day: Profile("m", {**(now if day > LAST - timedelta(7) else usual), **others}) for day in days}

    monkeypatch.setattr(watch_model.Warehouse, "view", lambda _, work: work(View()))
    monkeypatch.setattr("reporting.drift.day_profiles", profiles)
    caplog.set_level(logging.INFO)
    assert watch_model.main([]) == 0
    said = [record for record in caplog.records if says in record.getMessage()]
    assert [record.levelno for record in said] == [level]
    assert "CALLMOOD_GOLDEN_SET names none" in caplog.text
    assert watch_model.main(["--drift"]) == 0
    tickets = json.loads(capsys.readouterr().out)
    assert [(each["severity"], each["title"]) for each in tickets] == [("ticket", title) for title in told]
    assert all(
        says in each["body"] and f"Type: make why FROM={LAST - timedelta(6)}" in each["body"] for each in tickets
    )


def test_the_command_scores_the_golden_set_of_the_settings(
    golden: Path, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CALLMOOD_GOLDEN_SET", str(golden))
    monkeypatch.setenv("CALLMOOD_MODEL", str(write_model(place / "model")))
    caplog.set_level(logging.INFO)
    assert watch_model.main([]) == 0
    assert "What is usual of the data is said once 7 days before are published." in caplog.text
    assert "3 clips were scored by mean-1.0-" in caplog.text
    monkeypatch.setenv("CALLMOOD_GOLDEN_SET", str(place / "none"))
    assert watch_model.main([]) == EXIT_PERMANENT
