"""The command classify: the segments of recordings, and a reason for each that cannot be read."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_models import WAVEFORM_CARD, waveform_network, write_model

from ser_model.__main__ import SHIPPED_MODEL, main
from ser_model.classifier import Classifier, emotion_set

Voice = Callable[..., np.ndarray]
RATE = 8000
LABELS = Classifier.load(SHIPPED_MODEL).card.labels


@pytest.fixture
def call(voice: Voice, tmp_path: Path) -> Path:
    """10 s: the customer (left) speaks from 1 to 4, the agent from 5 to 8."""
    sound = np.random.default_rng(0).standard_normal((10 * RATE, 2)).astype(np.float32) * 1e-3
    sound[1 * RATE : 4 * RATE, 0] += voice(3.0, 150)
    sound[5 * RATE : 8 * RATE, 1] += voice(3.0, 110)
    path = tmp_path / "call.wav"
    soundfile.write(path, sound, RATE, subtype="ULAW")
    return path


def test_a_call_as_json(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "--format", "json", str(call)]) == 0
    (recording,) = json.loads(capsys.readouterr().out)
    card = Classifier.load(SHIPPED_MODEL).card
    assert (recording["file"], recording["channel_kind"], recording["duration_s"]) == (str(call), "two_channel", 10)
    assert recording["model_id"] == card.model_id
    roles = {segment["role"] for segment in recording["segments"]}
    assert roles == {"customer", "agent"}
    for segment in recording["segments"]:
        first, last = (1, 4) if segment["role"] == "customer" else (5, 8)
        assert first - 0.2 < segment["start_s"] < segment["end_s"] < last + 0.2
        if segment["role"] == "agent":
            assert (segment["emotion"], segment["probabilities"], segment["emotion_set"]) == (None, None, [])
            continue
        probabilities = segment["probabilities"]
        assert tuple(probabilities) == LABELS
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-3)
        assert segment["confidence"] == max(probabilities.values()) == probabilities[segment["emotion"]]
        chosen = emotion_set(list(probabilities.values()), LABELS, card.conformal_threshold)
        assert segment["emotion_set"] == chosen


def test_a_call_as_csv(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "--format", "csv", str(call)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == [
        *("file", "start_s", "end_s", "role", "emotion", "confidence"),
        *(f"p_{label}" for label in LABELS),
        "emotion_set",
    ]
    customer = [row for row in rows if row["role"] == "customer"]
    assert all(row["emotion"] in LABELS and row["emotion_set"].split()[0] == row["emotion"] for row in customer)
    assert {row["emotion"] for row in rows if row["role"] == "agent"} == {""}


def test_a_call_as_a_table(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", str(call)]) == 0
    first, heads, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{call}: WAV/ULAW, 8000 Hz, two_channel, 10.0 s; {len(rows)} segments")
    assert heads.split() == ["start_s", "end_s", "role", "emotion", *LABELS, "90%", "set"]
    assert {row.split()[2] for row in rows} == {"customer", "agent"}


@pytest.mark.parametrize(
    ("options", "classified"),
    [
        ([], {"customer": [1]}),
        (["--roles", "agent"], {"agent": [5]}),
        (["--roles", "customer,agent"], {"customer": [1], "agent": [5]}),
        (["--channels", "agent,customer"], {"customer": [5]}),
        (["--channels", "none,customer"], {"customer": [5]}),
    ],
)
def test_roles_and_channels(
    call: Path, options: list[str], classified: dict[str, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", "--format", "json", *options, str(call)]) == 0
    segments = json.loads(capsys.readouterr().out)[0]["segments"]
    found: dict[str, list[int]] = {}
    for segment in segments:
        if segment["emotion"] is not None:
            found.setdefault(segment["role"], []).append(round(segment["start_s"]))
    assert {role: starts[:1] for role, starts in found.items()} == classified


def test_two_files_may_be_the_sides_of_one_recording(
    call: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound, _ = soundfile.read(call)
    sides = []
    for number in (0, 1):
        sides.append(str(tmp_path / f"side {number}.wav"))
        soundfile.write(sides[-1], sound[:, number], RATE)
    assert main(["classify", "--format", "json", "--pair", *sides]) == 0
    (recording,) = json.loads(capsys.readouterr().out)
    assert recording["channel_kind"] == "two_channel"
    assert main(["classify", "--pair", str(call)]) == 1
    assert "--pair with 1 files; expected two" in capsys.readouterr().err


def test_bad_files_end_with_their_reason_and_the_others_go_on(
    call: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.html").write_text("<html>not found</html>" * 100)
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "silent.wav", np.zeros((3 * RATE, 2)), RATE)
    mono, _ = soundfile.read(call)
    soundfile.write(tmp_path / "mono.wav", mono[:, 0], RATE)
    names = ["page.html", "empty.wav", "silent.wav", "mono.wav", "nowhere.wav", ".", "call.wav"]
    assert main(["classify", "--format", "json", *(str(tmp_path / name) for name in names)]) == 1
    shown = capsys.readouterr()
    assert [recording["file"] for recording in json.loads(shown.out)] == [str(call)]
    reasons = [line.removeprefix(f"{tmp_path}").split(": ")[1] for line in shown.err.splitlines()]
    assert reasons == ["not_audio", "empty", "no_speech", "mono_not_separable", "not_readable", "not_readable"]


def test_nothing_readable_is_still_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "--format", "json", str(tmp_path)]) == 1
    assert json.loads(capsys.readouterr().out) == []


def test_a_model_that_hears_samples(call: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At 16 kHz, twice the recording's rate; its network hears how loud a segment is."""
    folder = write_model(tmp_path / "model", waveform_network(), WAVEFORM_CARD)
    assert main(["classify", "--format", "json", "--model", str(folder), str(call)]) == 0
    (recording,) = json.loads(capsys.readouterr().out)
    spoken = [segment for segment in recording["segments"] if segment["role"] == "customer"]
    assert spoken
    assert all(set(segment["probabilities"]) == {"neutral", "happy", "angry"} for segment in spoken)


@pytest.mark.parametrize("option", ["--roles", "--channels"])
def test_an_unknown_role_is_named(option: str, call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["classify", option, "customer,caller", str(call)])
    assert "'caller'; expected some of customer, agent" in capsys.readouterr().err


def test_a_reader_that_has_enough_ends_it_quietly(call: Path) -> None:
    command = [sys.executable, "-m", "ser_model", "classify", *[str(call)] * 3]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.shared
def test_the_real_recordings(shared_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared_dir / "calls" / "recordings"
    assert main(["classify", "--format", "json", *map(str, sorted(folder.iterdir()))]) == 1
    shown = capsys.readouterr()
    assert [Path(recording["file"]).name for recording in json.loads(shown.out)] == ["two_channel_16k.wav"]
    assert shown.err.count("mono_not_separable") == 5
    pair = [str(folder / f"Auto_Repairs_40_UTC_{side}.wav") for side in ("caller", "agent")]
    assert main(["classify", "--format", "json", "--pair", *pair]) == 0
    (recording,) = json.loads(capsys.readouterr().out)
    assert sum(segment["emotion"] is not None for segment in recording["segments"]) > 30
