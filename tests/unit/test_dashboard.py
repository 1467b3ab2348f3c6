"""What the dashboard shows: figures that equal the tables', what it hides, what it draws, plays and exports."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import made_center
import numpy as np
import pandas as pd
import pytest
import soundfile

from jobs.labels import Label, Labels
from jobs.storage import LocalStorage
from reporting.dashboard import __main__ as launcher
from reporting.dashboard.export import export
from reporting.dashboard.places import Places, Recordings, RecordingUnreachable
from reporting.dashboard.sampling import BATCH, Drawn, draw
from reporting.dashboard.sound import STEP_S, excerpt, waveform
from reporting.dashboard.tables import MIN_GROUP, Filter, Tables, suppressed
from ser_model.corpora import read_corpus
from ser_model.errors import NotAudio
from ser_model.taxonomy import MOOD
from tests.benchmarks.dashboard import LAST, SEGMENTS

FIRST = LAST - timedelta(days=made_center.DAYS - 1)
EVERYTHING = Filter(FIRST, LAST)
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def center(tmp_path_factory: pytest.TempPathFactory, voice: Callable[..., Any]) -> Path:
    return made_center.make(tmp_path_factory.mktemp("center"), voice)


@pytest.fixture(scope="module")
def tables(center: Path) -> Tables:
    return Tables(LocalStorage(center / "warehouse"))


@pytest.fixture(scope="module")
def calls(tables: Tables) -> pd.DataFrame:
    return tables.rows("select calls.*, local_hour from calls join contacts using (call_date, contact_id)")


@pytest.mark.parametrize(
    ("calls", "hidden"),
    [
        ([7, 9], [False, False]),
        ([7, 4, 9], [True, True, False]),  # else the total less 7 and 9 were the 4
        ([7, 4, 2, 9], [False, True, True, False]),  # 6 together: nobody's own
        ([4], [True]),
        ([0, 8], [True, False]),  # nothing to be hidden
    ],
)
def test_small_groups_are_hidden_with_what_they_follow_from(calls: list[int], hidden: list[bool]) -> None:
    assert suppressed(np.array(calls)).tolist() == hidden


@pytest.mark.parametrize("name", ["queue", "team"])
def test_figures_by_group_equal_the_tables(tables: Tables, calls: pd.DataFrame, name: str) -> None:
    found = tables.by(name, EVERYTHING).set_index("key")
    groups = calls.groupby(name)["satisfaction_index"]
    assert found["calls"].to_dict() == groups.size().to_dict()
    shown = found["index_mean"].dropna()
    assert len(shown) > 1
    assert shown.to_dict() == pytest.approx(groups.mean()[shown.index].to_dict())
    assert found["index_mean"][found["calls"] < MIN_GROUP].isna().all()


def test_the_total_has_the_interval_of_students_t(tables: Tables, calls: pd.DataFrame) -> None:
    from scipy.stats import t

    found = tables.total(EVERYTHING)
    index = calls["satisfaction_index"].astype(float)
    assert found["calls"] == len(calls) == made_center.CALLS
    half = t.ppf(0.975, len(index) - 1) * index.std() / np.sqrt(len(index))
    assert (found["index_low"], found["index_high"]) == pytest.approx((index.mean() - half, index.mean() + half))
    assert [day.date() for day in tables.over_days(EVERYTHING)["key"]] == [FIRST, LAST]
    hours = tables.by_hour(EVERYTHING).set_index("key")["calls"]
    assert hours.to_dict() == calls["local_hour"].value_counts().to_dict()


def test_filters_narrow_every_view(tables: Tables, calls: pd.DataFrame) -> None:
    chosen = Filter(LAST, LAST, ("Billing",), ("Team 1", "Team 2", "Team 3"))
    expected = calls[
        (calls["call_date"] == pd.Timestamp(LAST)) & (calls["queue"] == "Billing") & calls["team"].isin(chosen.teams)
    ]
    assert tables.total(chosen)["calls"] == len(expected)
    assert set(tables.calls(chosen)["contact_id"]) == set(expected["contact_id"])
    assert set(tables.values("queue", FIRST, LAST)) == {"Billing", "Orders", "Support", "Sales", "Claims", "Returns"}
    assert tables.total(Filter(LAST, LAST, ("Nobody",)))["calls"] == 0


def test_the_calls_most_worth_hearing_come_first(tables: Tables) -> None:
    found = tables.calls(EVERYTHING)
    has_reason = [len(reasons) > 0 for reasons in found["review_reasons"]]
    assert True in has_reason and has_reason == sorted(has_reason, reverse=True)
    others = found["satisfaction_index"][[not each for each in has_reason]]
    assert others.is_monotonic_increasing


def test_coverage_is_counted_with_every_reason(tables: Tables) -> None:
    assert tables.coverage(EVERYTHING)["contacts_expected"].sum() == made_center.CALLS
    assert set(tables.not_scored(EVERYTHING)["reason_code"]) <= {"truncated"}
    assert len(tables.publications(EVERYTHING)) == made_center.DAYS


# Judging


def label(drawn: Drawn, emotion: str | None, annotator: str, at: int = 0) -> Label:
    return Label(
        drawn.call_date,
        drawn.contact_id,
        drawn.role,
        drawn.start_s,
        drawn.end_s,
        emotion,
        emotion and MOOD[emotion],
        annotator,
        drawn.sampled_by,
        drawn.weight,
        drawn.model_id,
        drawn.model_emotion,
        drawn.model_confidence,
        NOW + timedelta(seconds=at),
    )


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return Labels(LocalStorage(tmp_path / "warehouse"))


def test_the_queue_mixes_kinds_with_known_weights(tables: Tables, labels: Labels) -> None:
    drawn = draw(tables, EVERYTHING, labels.read(), "heron")
    segments = tables.rows("select emotion, confidence from emotion_log where end_s - start_s >= 1")
    uncertain = (segments["confidence"] <= segments["confidence"].quantile(0.1)).sum()
    frames = {"random": len(segments), "flagged": (segments["emotion"] == "angry").sum(), "uncertain": uncertain}
    by_kind = {kind: [each for each in drawn if each.sampled_by == kind] for kind in frames}
    assert all(len(each) >= BATCH - 3 for each in by_kind.values())  # a segment of two kinds is drawn once
    for kind, of_kind in by_kind.items():
        assert {each.weight for each in of_kind} == {frames[kind] / BATCH}
    assert {each.model_emotion for each in by_kind["flagged"]} == {"angry"}
    kinds = [each.sampled_by for each in drawn]
    assert kinds != sorted(kinds)  # no kind before another
    assert draw(tables, EVERYTHING, labels.read(), "wren") == drawn  # the same for everybody


def test_what_one_has_judged_is_not_drawn_again_as_the_same_kind(tables: Tables, labels: Labels) -> None:
    def seen(drawn: list[Drawn]) -> set[tuple[str, str, float]]:
        return {(each.sampled_by, each.contact_id, each.start_s) for each in drawn}

    first = draw(tables, EVERYTHING, labels.read(), "heron")
    for each in first:
        labels.add(label(each, "calm", "heron"))
    assert not seen(first) & seen(draw(tables, EVERYTHING, labels.read(), "heron"))
    assert draw(tables, EVERYTHING, labels.read(), "wren") == first


def test_every_segment_is_drawn_at_last(tables: Tables, labels: Labels) -> None:
    some = tables.calls(Filter(LAST, LAST)).iloc[0]
    chosen = Filter(LAST, LAST, (some["queue"],), (some["team"],))
    n_segments = len(tables.calls(chosen)) * SEGMENTS
    assert n_segments
    heard: set[tuple[str, float]] = set()
    while drawn := draw(tables, chosen, labels.read(), "heron"):
        for each in drawn:
            heard.add((each.contact_id, each.start_s))
            labels.add(label(each, "calm", "heron"))
    assert len(heard) == n_segments


def test_two_annotators_at_once_lose_nothing(tables: Tables, tmp_path: Path) -> None:
    drawn = draw(tables, EVERYTHING, Labels(LocalStorage(tmp_path)).read(), "heron")

    def judge(annotator: str) -> None:
        own = Labels(LocalStorage(tmp_path))
        for each in drawn:
            own.add(label(each, "angry", annotator))

    with ThreadPoolExecutor(2) as both:
        list(both.map(judge, ["heron", "wren"]))
    found = Labels(LocalStorage(tmp_path)).read()
    assert sorted(found["annotator"].to_pylist()) == ["heron"] * len(drawn) + ["wren"] * len(drawn)
    names = [str(path) for path in (tmp_path / "labels").rglob("*.parquet")]
    assert not [name for name in names if "contact" in name or "heron" in name]  # no id in a name


# Sound


@pytest.fixture(scope="module")
def recording(center: Path) -> Path:
    return next((center / "recordings").iterdir())


def test_a_piece_is_what_was_recorded_there_and_no_more(recording: Path) -> None:
    whole, rate_hz = soundfile.read(recording, dtype="float32")
    with recording.open("rb") as file:
        cut = excerpt([file], ("customer", "agent"), 40.0, 43.5)
    piece, found_hz = soundfile.read(io.BytesIO(cut), dtype="float32")
    assert (rate_hz, found_hz, piece.shape) == (8000, 8000, (28000, 2))
    assert np.abs(piece - whole[320000:348000]).max() < 1e-4
    with recording.open("rb") as file:
        agent, _ = soundfile.read(io.BytesIO(excerpt([file], ("customer", "agent"), 43.0, 1e6, only="agent")))
    assert len(agent) == len(whole) - 344000
    assert np.abs(agent - whole[344000:, 1]).max() < 1e-4


def test_the_waveform_has_the_peaks_of_each_side(recording: Path) -> None:
    with recording.open("rb") as file:
        found = waveform([file], ("customer", "agent"))
    assert found.roles == ("customer", "agent")
    loud = found.peaks > 0.05
    at = {role: np.flatnonzero(row) * STEP_S for role, row in zip(found.roles, loud, strict=True)}
    assert len(at["customer"]) and all(each % 20 < 2.6 for each in at["customer"])
    assert len(at["agent"]) and all(2.9 < each % 20 < 5.1 for each in at["agent"])


@pytest.mark.parametrize("address", ["s3://recordings/none.wav", "s3://recordings/../warehouse/x", "s3://recordings/"])
def test_a_recording_that_is_not_there_is_a_sentence(center: Path, address: str) -> None:
    recordings = Recordings((str(center / "recordings"),))
    with pytest.raises(RecordingUnreachable, match="none of the folders"), recordings.opened([address]):
        pass


def test_what_is_no_recording_says_so() -> None:
    with pytest.raises(NotAudio):
        waveform([io.BytesIO(b"no sound" * 1000)], ("customer", "agent"))


# Export


def test_judgements_become_a_corpus_split_by_customer(
    tables: Tables, labels: Labels, center: Path, tmp_path: Path
) -> None:
    drawn = draw(tables, Filter(LAST, LAST), labels.read(), "heron")
    for each in drawn:
        labels.add(label(each, "sad", "heron", at=1))
        labels.add(label(each, "angry", "heron", at=2))  # the last counts
        labels.add(label(each, "angry", "wren", at=3))
    labels.add(label(drawn[0], None, "owl", at=4))
    found = export(labels.read(), tables, Recordings((str(center / "recordings"),)), tmp_path / "corpus")
    assert (found.pieces, found.judgements, found.left_out) == (len(drawn), 2 * len(drawn), {})
    table = tmp_path / "corpus" / "labels.csv"
    rows = pd.read_csv(table, dtype=str)
    customers = {tables.customer(each.call_date, each.contact_id) for each in drawn}
    assert None not in customers and set(rows["speaker"]) == customers
    assert "contact" not in table.read_text()
    # The made calls sound alike, and the same piece of two calls is one clip: of one of the speakers.
    contents = read_corpus("calls", table)
    assert contents.clips and {clip.speaker for clip in contents.clips} <= customers
    assert {(clip.emotion, clip.annotations, clip.end_s) for clip in contents.clips} == {
        ("angry", ("angry", "angry"), 2.5)
    }


def test_what_cannot_be_had_is_left_out_and_counted(tables: Tables, labels: Labels, tmp_path: Path) -> None:
    for each in draw(tables, Filter(LAST, LAST), labels.read(), "heron")[:3]:
        labels.add(label(each, "sad", "heron"))
    found = export(labels.read(), tables, Recordings((str(tmp_path),)), tmp_path / "corpus")
    assert (found.pieces, sum(found.left_out.values())) == (0, 3)


# Starting


def test_a_free_port_is_found() -> None:
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", launcher.FIRST_PORT))
            taken.listen()
        except OSError:
            pass  # somebody else has it: as good
        assert launcher.free_port() > launcher.FIRST_PORT


def test_without_a_warehouse_it_says_so_and_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CALLMOOD_WAREHOUSE", "CALLMOOD_SETTINGS_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert launcher.main([]) == 2
    assert "CALLMOOD_WAREHOUSE" in capsys.readouterr().err


def test_a_demos_folder_names_its_places(tmp_path: Path) -> None:
    (tmp_path / "sample_calls" / "2026-11-20").mkdir(parents=True)
    places = Places.of(launcher.places_of(launcher.parser().parse_args(["--out", str(tmp_path)])))
    assert places.warehouse.location == str(tmp_path / "warehouse")
    assert places.recordings.folders == (str(tmp_path / "sample_calls" / "2026-11-20"),)
