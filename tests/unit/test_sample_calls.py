"""The sample calls: the same bytes again, an ordinary night's shape, and the odd recordings odd as said."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("espeakng_loader", reason="the sample voices are a dependency group of their own")

import itertools

from infra.demo import sample_calls, voices
from infra.demo.errors import ForeignFolderError, VoicesMissingError
from infra.demo.sample_calls import ARCS, CALLS, STAMP, SampleCalls, delivery_at, make_sample_calls
from infra.demo.voices import active_level_dbfs

DAY = date(2026, 11, 20)
KEY = re.compile(
    r"CallRecordings/2026/11/20/(?P<contact_id>[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})"
    r"_20261120T\d\d(:|%3A)\d\d_UTC\.(wav|mp3)"
)
SPOKEN_TWO_CHANNEL = {"mulaw", "pcm16", "escaped_key", "truncated"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SampleCalls:
    return make_sample_calls(tmp_path_factory.mktemp("sample") / "calls", DAY)


@pytest.fixture(scope="module")
def truth(made: SampleCalls) -> list[dict[str, Any]]:
    return _rows(made.folder / "truth.jsonl")


@pytest.fixture(scope="module")
def records(made: SampleCalls) -> list[dict[str, Any]]:
    return _rows(made.contacts)


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _of_form(truth: list[dict[str, Any]], form: str) -> dict[str, Any]:
    (row,) = [row for row in truth if row["form"] == form]
    return row


def _seconds(later: str, earlier: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


# --- The folder ---


def test_the_same_date_gives_the_same_bytes_in_another_process_and_later_in_this_one(
    made: SampleCalls, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "infra.demo.sample_calls", "--date", "2026-11-20", "--out", str(tmp_path / "b")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], capture_output=True)
    again = make_sample_calls(tmp_path / "c", DAY)

    first = _digests(made.folder)
    assert len(first) == made.n_recordings + len(sample_calls.BESIDE)
    assert _digests(tmp_path / "b") == first
    assert _digests(again.folder) == first


def test_a_folder_is_made_once_for_a_date_and_again_for_another(
    made: SampleCalls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(sample_calls, "_write", fail)
    assert make_sample_calls(made.folder, DAY) == made
    with pytest.raises(AssertionError, match="made again"):
        make_sample_calls(made.folder, date(2026, 11, 21))
    assert (made.folder / STAMP).is_file()


def test_an_interruption_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        assert total == len(CALLS)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_sample_calls(tmp_path / "calls", DAY, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ForeignFolderError, match="not empty"):
        make_sample_calls(tmp_path, DAY)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_missing_voices_end_in_one_line_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(VoicesMissingError, match="group 'demo'"):
        make_sample_calls(tmp_path / "calls", DAY)
    with pytest.raises(SystemExit) as ended:
        sample_calls.main(["--date", "2026-11-20", "--out", str(tmp_path / "calls")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


# --- Keys and contact records ---


def test_every_object_lies_under_an_amazon_connect_key(made: SampleCalls, truth: list[dict[str, Any]]) -> None:
    keys = {path.relative_to(made.folder).as_posix() for path in (made.folder / "CallRecordings").rglob("*.*")}
    assert len(keys) == made.n_recordings == 24
    assert {key for key in keys if not KEY.fullmatch(key)} == set()
    assert keys == {row["key"] for row in truth}
    assert [key for key in keys if "%3A" in key] == [_of_form(truth, "escaped_key")["key"]]
    for row in truth:
        match = KEY.fullmatch(row["key"])
        assert match is not None
        assert match["contact_id"] == row["contact_id"]


def test_the_night_holds_this(truth: list[dict[str, Any]]) -> None:
    assert Counter(row["form"] for row in truth) == {
        "mulaw": 14,
        "pcm16": 4,
        "escaped_key": 1,
        "mono": 1,
        "mp3": 1,
        "no_speech": 1,
        "truncated": 1,
        "not_audio": 1,
    }
    assert set(Counter(row["arc"] for row in truth if row["form"] in SPOKEN_TWO_CHANNEL).values()) <= {3, 4, 5, 6}
    assert {row["arc"] for row in truth} == set(ARCS)
    assert len({row["topic"] for row in truth}) >= 6
    assert all(40 <= row["duration_s"] <= 90 for row in truth)


def test_records_and_recordings_join_but_for_the_planned_exceptions(
    truth: list[dict[str, Any]], records: list[dict[str, Any]]
) -> None:
    located = {location["Location"]: row["ContactId"] for row in records for location in row["Recordings"]}
    stored = {row["key"].replace("%3A", ":"): row["contact_id"] for row in truth}
    without_record = stored.keys() - located.keys()
    missing = located.keys() - stored.keys()
    assert len(without_record) == 1
    assert len(missing) == 1
    assert {key: located[key] for key in located.keys() & stored.keys()} == {
        key: stored[key] for key in located.keys() & stored.keys()
    }
    abandoned = [row for row in records if not row["Recordings"]]
    assert [row["Agent"] for row in abandoned] == [None]


def test_one_record_is_delivered_twice_the_second_time_older(records: list[dict[str, Any]]) -> None:
    ((contact_id, n),) = Counter(row["ContactId"] for row in records).most_common(1)
    assert n == 2
    assert len(records) == len({row["ContactId"] for row in records}) + 1
    newer, older = [row for row in records if row["ContactId"] == contact_id]
    assert older["LastUpdateTimestamp"] < newer["LastUpdateTimestamp"]
    assert older["Agent"] != newer["Agent"]


def test_what_a_call_is_about_goes_on_until_the_next_subject(made: SampleCalls, truth: list[dict[str, Any]]) -> None:
    calls = {call["contact_id"]: call for call in truth if call["form"] not in ("no_speech", "not_audio", "truncated")}
    assert {row["contact_id"] for row in _rows(made.topics)} >= set(calls)
    of_topic: Counter[str] = Counter()
    for contact_id, group in itertools.groupby(_rows(made.topics), lambda row: row["contact_id"]):
        call, rows = calls.get(contact_id), list(group)
        if call is None:
            continue
        names = [row["topic"] for row in rows]
        assert names == ["the problem", "a refusal" if call["arc"] == "escalating" else names[-1]]
        assert [row["end_s"] for row in rows] == [rows[1]["start_s"], call["duration_s"]]
        (spoken,) = [turn for turn in call["turns"] if turn["start_s"] == rows[0]["start_s"]]
        assert spoken["role"] == "customer"
        of_topic.update(names if call["form"] in SPOKEN_TWO_CHANNEL else [])
    assert min(of_topic.values()) >= 5, "so many calls the report needs of each"
    assert set(of_topic) == {"the problem", "a remedy", "a refusal"}


def test_a_transfer_joins_two_contacts_of_one_customer(records: list[dict[str, Any]]) -> None:
    by_id = {row["ContactId"]: row for row in records}
    (second,) = [row for row in records if row["PreviousContactId"]]
    first = by_id[second["PreviousContactId"]]
    assert first["NextContactId"] == second["ContactId"]
    assert second["InitialContactId"] == first["ContactId"]
    assert second["InitiationMethod"] == "TRANSFER"
    assert second["CustomerEndpoint"] == first["CustomerEndpoint"]
    assert abs(_seconds(second["InitiationTimestamp"], first["DisconnectTimestamp"])) < 1


def test_records_are_plausible(truth: list[dict[str, Any]], records: list[dict[str, Any]]) -> None:
    answered = [row for row in records if row["Agent"]]
    assert {row["Queue"]["Name"] for row in records} == {"Billing", "Support", "Orders"}
    assert len({row["Agent"]["Username"] for row in answered}) >= 6
    assert len({row["Agent"]["HierarchyGroups"]["Level1"]["GroupName"] for row in answered}) >= 3
    assert any(row["Agent"]["NumberOfHolds"] for row in answered)
    durations = {row["contact_id"]: row["duration_s"] for row in truth}
    for row in answered:
        queue, agent = row["Queue"], row["Agent"]
        assert row["InitiationTimestamp"] <= queue["EnqueueTimestamp"] < agent["ConnectedToAgentTimestamp"]
        assert _seconds(queue["DequeueTimestamp"], queue["EnqueueTimestamp"]) == queue["Duration"] < 900
        assert re.fullmatch(r"\+120655501\d\d", row["CustomerEndpoint"]["Address"])
        assert (agent["NumberOfHolds"] > 0) == (agent["CustomerHoldDuration"] > 0)
        talked_s = _seconds(row["DisconnectTimestamp"], agent["ConnectedToAgentTimestamp"])
        assert talked_s == pytest.approx(durations.get(row["ContactId"], talked_s), abs=0.002)


# --- What is heard ---


@pytest.mark.parametrize(
    ("form", "container", "subtype", "channels"),
    [
        ("mulaw", "WAV", "ULAW", 2),
        ("pcm16", "WAV", "PCM_16", 2),
        ("escaped_key", "WAV", "ULAW", 2),
        ("mono", "WAV", "PCM_16", 1),
        ("mp3", "MP3", "MPEG_LAYER_III", 2),
        ("no_speech", "WAV", "ULAW", 2),
        ("truncated", "WAV", "ULAW", 2),
    ],
)
def test_forms_are_what_they_are_called(
    made: SampleCalls, truth: list[dict[str, Any]], form: str, container: str, subtype: str, channels: int
) -> None:
    for row in (row for row in truth if row["form"] == form):
        info = soundfile.info(made.folder / row["key"])
        assert (info.format, info.subtype, info.channels, info.samplerate) == (container, subtype, channels, 8000)
        expected_s = row["duration_s"] * (0.5 if form == "truncated" else 1.0)
        assert info.duration == pytest.approx(expected_s, abs=0.15)


def test_the_odd_ones_are_odd(made: SampleCalls, truth: list[dict[str, Any]]) -> None:
    mp3, _ = soundfile.read(made.folder / _of_form(truth, "mp3")["key"])
    assert np.array_equal(mp3[:, 0], mp3[:, 1])

    silent, _ = soundfile.read(made.folder / _of_form(truth, "no_speech")["key"])
    assert 0 < np.abs(silent).max() < 0.01
    assert _of_form(truth, "no_speech")["turns"] == []

    truncated = (made.folder / _of_form(truth, "truncated")["key"]).read_bytes()
    data_at = truncated.index(b"data")
    claimed = int.from_bytes(truncated[data_at + 4 : data_at + 8], "little")
    assert claimed == pytest.approx(2 * (len(truncated) - data_at - 8), abs=2)

    with pytest.raises(soundfile.LibsndfileError):
        soundfile.info(made.folder / _of_form(truth, "not_audio")["key"])


def test_speech_is_where_the_truth_says_and_on_its_own_channel(made: SampleCalls, truth: list[dict[str, Any]]) -> None:
    heard = [row for row in truth if row["form"] in SPOKEN_TWO_CHANNEL]
    assert len(heard) == 20
    for row in heard:
        samples, rate_hz = soundfile.read(made.folder / row["key"], dtype="float32")
        assert row["turns"]
        silence = np.ones_like(samples, dtype=bool)
        for turn in row["turns"]:
            channel = 0 if turn["role"] == "customer" else 1  # customer left, agent right
            assert 0 <= turn["start_s"] < turn["end_s"] <= len(samples) / rate_hz + 0.001
            first, last = round(turn["start_s"] * rate_hz), round(turn["end_s"] * rate_hz)
            silence[max(0, first - 8) : last + 8, channel] = False
            if turn["end_s"] - turn["start_s"] > 0.2:
                level = active_level_dbfs(samples[first:last, channel])
                assert level == pytest.approx(turn.get("level_dbfs", -21), abs=2.0)
                assert -27 < level < -14
        for channel in (0, 1):
            assert np.sqrt(np.mean(samples[silence[:, channel], channel] ** 2)) < 10 ** (-55 / 20)
        assert np.abs(samples).max() < 0.99


def test_calls_have_the_shape_of_a_conversation(truth: list[dict[str, Any]], records: list[dict[str, Any]]) -> None:
    longest_silences_s = []
    manners: Counter[str] = Counter()
    for row in (row for row in truth if row["form"] in SPOKEN_TWO_CHANNEL):
        turns = row["turns"]
        manners.update(turn["manner"] for turn in turns)
        main = [turn for turn in turns if turn["manner"] != "backchannel"]
        gaps = [later["start_s"] - earlier["end_s"] for earlier, later in itertools.pairwise(main)]
        longest_silences_s.append(max(gaps))
        for gap_s, (earlier, later) in zip(gaps, itertools.pairwise(main), strict=True):
            if later["manner"] == "interruption":
                assert -1.01 < gap_s < -0.5
                assert later["end_s"] > earlier["end_s"]
            else:
                assert gap_s >= 0.299
        for turn in (turn for turn in turns if turn["manner"] == "backchannel"):
            assert turn["end_s"] - turn["start_s"] < 1.0
            assert any(
                other["role"] != turn["role"] and other["start_s"] < turn["start_s"] and turn["end_s"] < other["end_s"]
                for other in main
            )
    assert manners["interruption"] >= 5
    assert manners["backchannel"] >= 5
    assert sum(silence_s > 4 for silence_s in longest_silences_s) >= 4  # holds


def _first_and_last(row: Mapping[str, Any], name: str) -> tuple[float, float]:
    turns = [t for t in row["turns"] if t["role"] == "customer" and t["manner"] != "backchannel"]
    return float(np.mean([t[name] for t in turns[:2]])), float(np.mean([t[name] for t in turns[-2:]]))


@pytest.mark.parametrize(
    ("arc", "louder_db", "pitch", "rate_wpm"),
    [
        ("content", (0.5, 3), (5, 20), (5, 25)),
        ("escalating", (3, 8), (15, 30), (15, 40)),
        ("recovering", (-8, -2), (-25, -5), (-35, -5)),
        ("flat", (-1.5, 1.5), (-5, 5), (-8, 8)),
    ],
)
def test_the_customer_follows_the_arc(
    truth: list[dict[str, Any]],
    arc: str,
    louder_db: tuple[float, float],
    pitch: tuple[float, float],
    rate_wpm: tuple[float, float],
) -> None:
    rows = [row for row in truth if row["arc"] == arc and row["form"] in SPOKEN_TWO_CHANNEL - {"truncated"}]
    assert len(rows) >= 3
    for row in rows:
        for name, (low, high) in (("level_dbfs", louder_db), ("pitch", pitch), ("rate_wpm", rate_wpm)):
            first, last = _first_and_last(row, name)
            assert low <= last - first <= high, (name, first, last)


def test_an_arc_is_interpolated_between_its_points() -> None:
    low, high = ARCS["content"][1], ARCS["content"][2]
    halfway = delivery_at("content", 0.75)
    assert halfway.rate_wpm == pytest.approx((low.rate_wpm + high.rate_wpm) / 2)
    assert halfway.level_dbfs == pytest.approx((low.level_dbfs + high.level_dbfs) / 2)
    assert delivery_at("escalating", 1.0) == ARCS["escalating"][-1]


def test_every_voice_is_one_that_espeak_has() -> None:
    # espeak-ng takes an unknown variant without a word and speaks with the plain voice.
    import espeakng_loader

    variants = Path(espeakng_loader.get_data_path(), "voices", "!v")
    named = {planned.customer_voice for planned in CALLS} | {a.voice for a in sample_calls.dialogues().agents}
    assert len(named) >= 10
    assert {voice for voice in named if not (variants / voice.partition("+")[2]).is_file()} == set()


def test_a_level_is_that_of_the_speech_and_not_of_its_pauses() -> None:
    tone = (0.1 * np.sqrt(2) * np.sin(2 * np.pi * 440 * np.arange(8000) / voices.RATE_HZ)).astype(np.float32)
    assert active_level_dbfs(tone) == pytest.approx(-20, abs=0.05)
    assert active_level_dbfs(np.concatenate((tone, np.zeros(24000, np.float32)))) == pytest.approx(-20, abs=0.05)
