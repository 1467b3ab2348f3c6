"""The report on a model: its figures where they are known, and the whole of it from corpora and runs made here."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reporting.model_report.__main__ import main, plain
from reporting.model_report.alerts import anger, area_under_roc, calls, recordings_in
from reporting.model_report.figures import CALL_S, CUSTOMER_SHARE
from schemas import definitions
from ser_model.corpora import Clip
from ser_model.predictions import Predictions, joined

LABELS = ("neutral", "calm", "happy", "surprised", "sad", "angry", "fearful", "disgusted")


def predictions(sure: float, *, speakers: int = 4, seed: int = 1, wrong: str | None = None) -> Predictions:
    """Four clips of each emotion and speaker, of one segment of 2 s, each named as it is with this probability.

    `wrong`: what neutral clips are named instead.
    """
    clips = [
        Clip(Path(f"{speaker}-{emotion}-{take}.wav"), "ravdess", f"{speaker:02}", emotion, "female")
        for speaker in range(1, speakers + 1)
        for emotion in LABELS
        for take in range(4)
    ]
    named = [LABELS.index(wrong if wrong and clip.emotion == "neutral" else clip.emotion) for clip in clips]
    rows = np.full((len(clips), len(LABELS)), (1 - sure) / (len(LABELS) - 1), dtype=np.float32)
    rows[np.arange(len(clips)), named] = sure
    return Predictions(
        clips=tuple(clips),
        seeds=np.full(len(clips), seed),
        runs=(f"1-{seed}",) * len(clips),
        by_segment=rows,
        row_of_segment=np.arange(len(clips)),
        segment_s=np.full(len(clips), 2.0),
        uncalibrated=rows,
        thresholds=np.full((len(clips), 1), 0.1),
        labels=LABELS,
    )


def test_rows_keep_their_segments() -> None:
    both = joined([predictions(0.9), predictions(0.6, seed=2)])
    assert both.probabilities.shape == (2 * 128, 8)
    second = both.rows(both.seeds == 2)
    np.testing.assert_allclose(second.probabilities, predictions(0.6).probabilities)
    assert set(second.runs) == {"1-2"}
    sad = both.rows(np.array([clip.emotion == "sad" for clip in both.clips]))
    assert {clip.emotion for clip in sad.clips} == {"sad"}
    np.testing.assert_array_equal(sad.probabilities.argmax(axis=1), sad.truth)


@pytest.mark.parametrize(
    ("scores", "positive", "area"),
    [
        ([0.1, 0.2, 0.3, 0.4], [False, False, True, True], 1.0),
        ([0.1, 0.2, 0.3, 0.4], [True, True, False, False], 0.0),
        ([0.5, 0.5, 0.5, 0.5], [True, False, True, False], 0.5),
        ([0.1, 0.4, 0.3, 0.4], [False, True, True, False], 0.625),
        ([0.1, 0.4], [False, False], float("nan")),
    ],
)
def test_area_under_the_curve(scores: list[float], positive: list[bool], area: float) -> None:
    assert area_under_roc(np.array(scores), np.array(positive)) == pytest.approx(area, nan_ok=True)


def test_where_all_is_named_right_every_alarm_is_true() -> None:
    found = anger(predictions(0.9))
    assert (found.auc, found.n_angry, found.n_others) == (1.0, 16, 112)
    called = found.rules[0]
    assert (called.recall, called.false_rate) == (1.0, 0.0)
    assert set(called.precision.values()) == {1.0}
    assert called.intervals[0.01] == (1.0, 1.0)


def test_neutral_speech_that_sounds_angry_counts_as_often_as_calls_have_it() -> None:
    """Of the speech that is not angry 70 of 96 parts are neutral: as rare as anger is, nearly every alarm is false."""
    called = anger(predictions(0.9, wrong="angry")).rules[0]
    assert called.recall == 1.0
    assert called.false_rate == pytest.approx(0.70 / (0.70 + 0.12 + 0.05 + 0.02 + 0.02 + 0.01 + 0.01))
    assert called.precision[0.01] == pytest.approx(0.01 / (0.01 + 0.99 * called.false_rate))


def test_sure_networks_flag_the_calls_that_they_shall_and_no_calm_one() -> None:
    found = calls(predictions(0.95))
    assert (found.n_calm, found.n_speakers, found.n_calm_clips) == (100, 4, 32)
    assert max(found.calm_peaks) < 0.05 < 0.9 < min(found.escalating_peaks)
    assert all(flags.share == flags.per_100_hours == 0 for flags in found.false_flags)
    for rule in found.rules:
        assert (rule.used_false, rule.found_false) == (0, 0)
        assert rule.found_detected == 1
        assert rule.name != "escalated" or rule.used_detected == 1


def test_calls_are_flagged_by_the_thresholds_in_use_and_better_ones_are_found() -> None:
    """Networks that are never sure: no threshold in use is reached, and every call can still be told."""
    found = {rule.name: rule for rule in calls(predictions(0.4)).rules}
    assert found["sustained_anger"].used.second == definitions.SUSTAINED_ANGER_PEAK
    assert found["sustained_anger"].used_detected == 0
    assert found["sustained_anger"].found_detected == 1
    assert 0.08 < found["sustained_anger"].found.second <= 0.4
    assert found["escalated"].used.first == -definitions.ESCALATED_MOOD_CHANGE


def test_flags_are_counted_an_hour_of_call() -> None:
    found = calls(predictions(0.95, wrong="angry"))
    segments = found.false_flags[0]
    assert 0.8 < segments.share < 0.9, "neutral is 70 of the 82 parts of calm speech"
    an_hour = 3600 * CUSTOMER_SHARE / 2.0
    assert segments.per_100_hours == pytest.approx(100 * segments.share * an_hour)
    peaks = next(flags for flags in found.false_flags if "sustained_anger" in flags.name)
    assert peaks.share == 1
    assert peaks.per_100_hours == pytest.approx(100 * 3600 / CALL_S, rel=0.02)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["b.wav", "a.mp3"], [("a.mp3",), ("b.wav",)]),
        (["40_caller.wav", "40_agent.wav", "41.wav"], [("40_caller.wav", "40_agent.wav"), ("41.wav",)]),
        (["x-customer.wav", "x-agent.wav"], [("x-customer.wav", "x-agent.wav")]),
        (["40_agent.wav", "41_caller.wav"], [("40_agent.wav",), ("41_caller.wav",)]),
        (["AGENT_Chris_Mono.wav"], [("AGENT_Chris_Mono.wav",)]),
    ],
)
def test_two_files_of_a_call_are_one_recording(
    tmp_path: Path, names: list[str], expected: list[tuple[str, ...]]
) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert [tuple(path.name for path in paths) for paths in recordings_in(tmp_path)] == expected


def test_figures_are_written_as_json_has_them() -> None:
    values = {0.01: (1 / 3, float("nan")), "rule": [float("-inf"), 7, "x", None]}
    assert json.loads(json.dumps(plain(values), allow_nan=False)) == {
        "0.01": [0.3333, None],
        "rule": [None, 7, "x", None],
    }


def test_a_folder_without_runs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    (tmp_path / "corpora").mkdir()
    assert main(["--runs", str(tmp_path), "--corpora", str(tmp_path / "corpora"), "--out", str(tmp_path / "out")]) == 1
    assert "holds no finished run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


RAVDESS_CODES = {
    "neutral": 1,
    "calm": 2,
    "happy": 3,
    "sad": 4,
    "angry": 5,
    "fearful": 6,
    "disgusted": 7,
    "surprised": 8,
}
EMODB_CODES = {"angry": "W", "happy": "F", "sad": "T", "neutral": "N"}
TUREV = ("Angry", "Calm", "Happy", "Sad")


def write_corpora(folder: Path, voice: Callable[..., np.ndarray]) -> None:
    """RAVDESS's 20 actors, EmoDB's speakers and two of TurEV-DB; an emotion is a pitch and a rhythm."""
    import soundfile

    def write(path: Path, speaker: int, emotion: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = voice(0.7, 90.0 + 12 * emotion + speaker, syllables_hz=3.0 + emotion)
        soundfile.write(path, sound, 8000)

    for actor in range(1, 21):
        for code in RAVDESS_CODES.values():
            write(folder / "ravdess" / f"03-01-{code:02}-01-01-01-{actor:02}.wav", actor, code)
    for speaker in ("03", "08", "09", "10", "11", "12", "13", "14"):
        for place, code in enumerate(EMODB_CODES.values()):
            write(folder / "emodb" / f"{speaker}a01{code}a.wav", int(speaker) + 20, place)
    for speaker in (1, 2):
        for place, name in enumerate(TUREV):
            write(folder / "turev" / name / f"{speaker}_ses.wav", speaker + 40, place)


@pytest.fixture
def tiny_config(tmp_path: Path) -> Path:
    import yaml

    values = yaml.safe_load((Path(__file__).parents[2] / "ser_model" / "configs" / "research.yaml").read_text())
    values["epochs"], values["batch_size"], values["teacher"] = 1, 8, None
    values["corpora"].pop("tess")
    values["corpora"]["ravdess"]["clips_an_epoch"] = values["corpora"]["emodb"]["clips_an_epoch"] = 16
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.torch
def test_the_whole_report(
    tmp_path: Path,
    tiny_config: Path,
    voice: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("torch")
    import soundfile

    from reporting.model_report import measure

    def made_up(clips: list[Clip], *_: Any) -> np.ndarray:
        """In the place of openSMILE, which tests do not have: the emotion, and chance."""
        random = np.random.default_rng(0)
        return np.array([[LABELS.index(clip.emotion), random.random()] for clip in clips])

    monkeypatch.setattr(measure, "functionals", made_up)
    write_corpora(tmp_path / "corpora", voice)
    (tmp_path / "calls").mkdir()
    soundfile.write(tmp_path / "calls" / "call.wav", np.stack([voice(14.0, 150.0), voice(14.0, 100.0)], axis=1), 8000)
    (tmp_path / "calls" / "notes.txt").write_text("no recording")
    given = ["--runs", tmp_path / "runs", "--corpora", tmp_path / "corpora", "--recordings", tmp_path / "calls"]
    given += ["--out", tmp_path / "out", "--previous", Path(__file__).parents[2] / "ser_model" / "models" / "open"]
    training = ["--retrain", tiny_config, "--folds", "1", "5", "--seeds", "1"]
    assert main([*map(str, given), *map(str, training)]) == 0, capsys.readouterr().err
    assert {path.name for path in (tmp_path / "runs").iterdir()} >= {"1-1", "5-1", "random-1", "report-cache"}

    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert figures["runs"] == ["1-1", "5-1", "random-1"]
    assert list(figures["conditions"]) == ["clean", "g711", "gsm", "opus", "noise20", "noise10", "loss3"]
    g711 = figures["conditions"]["g711"]
    assert g711["speakers"] == ["01", "02", "03", "04", "17", "18", "19", "20"]
    assert g711["n"] == 64
    assert figures["emodb"]["speakers"] == ["03", "08", "14"], "the test speakers of folds 1 and 5"
    assert list(figures["other_corpora"]) == ["turev"]
    assert figures["other_corpora"]["turev"]["n"] == 2 * 8
    assert figures["beside"][1]["uar"] == 1, "the made up functionals tell the emotion"
    before = next(row for row in figures["beside"] if row["name"] == "open 0.1.0, before")
    assert (before["n_speakers"], before["n"]) == (20, 120), "of every speaker, the six emotions that it knows"
    assert [row["failed"] for row in figures["recordings"]] == [None, "not_audio"]
    assert set(figures["training_s"]) == {"1-1", "5-1", "random-1"}

    page = (tmp_path / "out" / "README.md").read_text()
    assert "2 of 15 runs: 1-1, 5-1" in page
    assert "Training took" in page
    pictures = re.findall(r"!\[.*?\]\((.+?)\)", page)
    assert sorted(pictures) == sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert len(pictures) == 8
    assert not re.search(r"\bnan\b|\binf\b|None\b", page)

    capsys.readouterr()
    assert main([str(value) for value in given]) == 0
    again = capsys.readouterr().out
    assert "clips of" not in again, "nothing is computed twice"
    kept = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert {**kept, "seconds": 0} == {**figures, "seconds": 0}

    assert main([*map(str, given), "--int8"]) == 0
    in_int8 = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert (figures["precision"], in_int8["precision"]) == ("float32", "int8")
    assert "clips of" in capsys.readouterr().out, "they are other networks"
    assert "in 8-bit integers as it ships" in " ".join((tmp_path / "out" / "README.md").read_text().split())
