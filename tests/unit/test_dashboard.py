"""What the dashboard shows: figures that equal the tables', what it hides, what it draws, plays and exports."""

from __future__ import annotations

import io
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import made_center
import numpy as np
import pandas as pd
import pytest
import soundfile

from jobs.labels import Label, Labels
from jobs.storage import LocalStorage
from reporting.aggregates import ClassifierError, aggregate
from reporting.course import ALL_CALLS, PATH, mood_paths
from reporting.dashboard import __main__ as launcher
from reporting.dashboard import shared
from reporting.dashboard.export import export
from reporting.dashboard.places import Places, Recordings, RecordingUnreachable
from reporting.dashboard.sampling import BATCH, Drawn, draw
from reporting.dashboard.sound import STEP_S, excerpt, waveform
from reporting.dashboard.tables import FIGURES, MIN_GROUP, Filter, Tables, suppressed
from reporting.drift import ModelChange
from reporting.figures import EMOTION_COLORS, legend, topic_chart
from reporting.topics import Topics
from reporting.win_back import win_back
from ser_model.corpora import read_corpus
from ser_model.errors import NotAudio
from ser_model.taxonomy import MOOD
from tests.benchmarks.dashboard import LAST, MODEL, MODEL_BEFORE, NEW_MODEL_FROM, SEGMENTS, TOPICS, publish

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
    return tables.rows(
        "select calls.*, local_hour, customer_key from calls join contacts using (call_date, contact_id)"
    )


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


@pytest.mark.parametrize("name", ["queue", "team", "local_hour", "call_date"])
def test_figures_by_group_equal_the_tables(tables: Tables, calls: pd.DataFrame, name: str) -> None:
    period = tables.period(EVERYTHING)
    by = {"queue": period.by_queue, "team": period.by_team, "local_hour": period.by_hour, "call_date": period.by_day}
    found = by[name].set_index("key")
    groups = calls.groupby(name)
    assert found["calls"].to_dict() == groups.size().to_dict()
    shown = found[found["index_mean"].notna()]
    assert len(shown) > 1
    columns = {"index_mean": "satisfaction_index", "negative_share": "negative_share", "escalated_share": "escalated"}
    for column, of in {**columns, "recovered_share": "recovered"}.items():
        assert shown[column].to_dict() == pytest.approx(groups[of].mean()[shown.index].to_dict(), rel=1e-5)
    assert found["index_mean"][found["calls"] < MIN_GROUP].isna().all()


def test_the_calls_of_one_customer_go_together_in_an_interval(tables: Tables, calls: pd.DataFrame) -> None:
    import statsmodels.api as sm

    found = tables.period(EVERYTHING).total
    index = calls["satisfaction_index"].astype(float)
    assert found["calls"] == len(calls) == made_center.CALLS > calls["customer_key"].nunique()
    clustered = {"groups": calls["customer_key"].astype("category").cat.codes}
    fit = sm.OLS(index, np.ones(len(index))).fit(cov_type="cluster", cov_kwds=clustered, use_t=True)
    assert (found["index_low"], found["index_high"]) == pytest.approx(tuple(fit.conf_int().iloc[0]))


@pytest.mark.parametrize("scope", ["total", "queue", "team"])
def test_the_intervals_are_those_of_make_figures(tables: Tables, scope: Any) -> None:
    error = ClassifierError(MODEL, 3.9)
    found = tables.period(EVERYTHING, error)
    by = {"queue": found.by_queue, "team": found.by_team, "total": found.total.to_frame().T.assign(key=None)}
    shown = {row["key"]: row for row in by[scope].to_dict("records")}
    printed = aggregate(tables.tables, period="month", scope=scope, first=FIRST, last=LAST, errors=[error])
    both = [each for each in printed if not each.suppressed and pd.notna(shown[each.group]["index_mean"])]
    assert both
    for each in both:
        row = shown[each.group]
        assert (row["index_mean"], row["index_low"], row["index_high"]) == pytest.approx(
            (each.mean, each.sampling_low, each.sampling_high)
        )
        assert (row["level_low"], row["level_high"]) == pytest.approx((each.low, each.high))
        assert row["level_low"] < row["index_low"]
    of_another = tables.period(EVERYTHING, ClassifierError("another", 3.9))
    assert np.isnan(of_another.total["level_low"])


def test_the_mood_through_a_call_is_that_of_the_report(tables: Tables) -> None:
    names = [(name, name) for name in tables.values("queue", FIRST, LAST)]
    expected = {
        (path.queue or ALL_CALLS, point): mood
        for path in mood_paths(tables.arrow("select * from calls"), names)
        for point, mood in zip(PATH.values(), path.moods, strict=True)
    }
    found = tables.mood_paths(EVERYTHING).set_index(["queue", "point"])["mood"]
    assert {key: mood for key, mood in found.items() if pd.notna(mood)} == pytest.approx(expected)
    assert len(expected) > 2 * len(PATH)


def test_a_group_is_as_small_as_its_calls_with_an_index(center: Path) -> None:
    """Ten calls of which three have an index would show the figures of three."""
    own = Tables(LocalStorage(center / "warehouse"))
    without = "row_number() over (partition by queue order by contact_id) > 3 and queue = 'Sales'"
    changed = own.arrow(
        f"select * replace (case when {without} then null else satisfaction_index end as satisfaction_index) from calls"  # noqa: S608
    )
    own.tables.register("calls", changed)
    found = own.period(EVERYTHING).by_queue.set_index("key")
    assert found.loc["Sales", "calls"] > MIN_GROUP
    assert found.loc["Sales", list(FIGURES)].isna().all()
    assert found["index_mean"].isna().sum() == 2  # else the total less the others were the three


def test_whom_to_win_back_is_whom_make_win_back_lists_of_the_last_day(tables: Tables) -> None:
    everybody = win_back(tables.tables, FIRST, LAST).to_pandas()
    of_the_day = everybody[everybody["last_call"] == LAST]
    assert len(of_the_day)
    found = tables.win_back(EVERYTHING)
    assert found["index"].is_monotonic_increasing
    assert found.set_index("contact_id").sort_index().equals(of_the_day.set_index("contact_id").sort_index())
    queue = of_the_day["queue"].iloc[0]
    of_queue = tables.win_back(Filter(LAST, LAST, (queue,)))
    assert set(of_queue["contact_id"]) == set(of_the_day[of_the_day["queue"] == queue]["contact_id"])


# Topics and drift


@pytest.mark.parametrize("chosen", [Filter(LAST, LAST), Filter(FIRST, LAST, ("Billing", "Orders", "Support"))])
def test_topics_are_those_of_the_calls_chosen(tables: Tables, chosen: Filter) -> None:
    of = "queue in ('Billing', 'Orders', 'Support')" if chosen.queues else "true"
    asked = "select topic, count(*) as calls, avg(p_angry) as anger from topic_emotions join calls "
    asked += f"using (call_date, contact_id) where call_date between ? and ? and {of} group by 1"
    told = tables.rows(asked, [chosen.first, chosen.last]).set_index("topic")
    found = tables.topics(chosen)
    enough = told[told["calls"] >= MIN_GROUP]
    assert {each.topic: each.calls for each in found.shown} == enough["calls"].to_dict() != {}
    assert {each.topic: each.anger for each in found.shown} == pytest.approx(enough["anger"].to_dict())
    assert found.too_few == len(told) - len(enough)
    assert tables.topics(EVERYTHING).shown[0].topic == max(TOPICS, key=lambda topic: TOPICS[topic])
    assert tables.topics(Filter(LAST, LAST, ("Nobody",))) == Topics((), 0)


def test_a_call_says_what_it_was_about_and_when(tables: Tables) -> None:
    for call in tables.calls(Filter(LAST, LAST)).to_dict("records"):
        told = tables.call_topics(call["call_date"], call["contact_id"])
        assert [(each.start_s, each.end_s) for each in told] == [(20.0, 140.0), (140.0, 260.0)][: len(told)]
        assert told and {each.topic for each in told} <= set(TOPICS)


def test_the_data_are_compared_with_the_days_before(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("drifted")
    publish(folder, 90 * 9, 9)
    own = Tables(LocalStorage(folder / "warehouse"))
    found = own.drift(Filter(LAST, LAST))
    codecs = found.shifts[0]
    # By hand: half of the last day's 90 calls have a codec that none of 720 before had; 0.5 is added to each count.
    p, q = 45.5 / 91, np.array([0.5, 720.5]) / 721
    assert (codecs.quantity, codecs.verdict, codecs.calls, codecs.days) == ("codecs", "much", 90, 8)
    assert codecs.psi == pytest.approx(sum((p - q) * np.log(p / q)))
    assert {each.quantity: each.days for each in found.shifts}["emotions"] == 7, "of the same model"
    assert found.changes == (ModelChange(NEW_MODEL_FROM, MODEL_BEFORE, MODEL),)
    assert own.model_changes(Filter(own.days()[0], LAST)) == found.changes
    # A day is read once: a period of the same days needs none of them again.
    monkeypatch.setattr("reporting.dashboard.tables.day_profiles", lambda *_: pytest.fail("read again"))
    week = own.drift(Filter(LAST - timedelta(days=1), LAST))
    assert {each.quantity: each.calls for each in week.shifts}["codecs"] == 180


def test_the_reports_picture_is_shown_with_what_it_says_and_in_the_pages_colors(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, str]] = []
    monkeypatch.setattr(shared.st, "image", lambda drawn, alt: shown.append((drawn, alt)))
    found = tables.topics(EVERYTHING).shown
    shared.picture(topic_chart("topics", "Emotions by topic", found), legend(EMOTION_COLORS, ["angry"], "e"))
    ((drawn, says),) = shown
    assert says.startswith(f"Emotions by topic: refund, {found[0].calls} calls: angry {found[0].anger:.0%}, ")
    root = ElementTree.fromstring(drawn)  # noqa: S314 - drawn by the project
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    style = str(root.findtext("{*}style"))
    used = set(re.findall(r"var\((--[\w-]+)\)", drawn))
    assert {"--ink", "--e-angry"} <= used <= set(re.findall(r"(--[\w-]+):", style))


def test_filters_narrow_every_view(tables: Tables, calls: pd.DataFrame) -> None:
    chosen = Filter(LAST, LAST, ("Billing",), ("Team 1", "Team 2", "Team 3"))
    expected = calls[
        (calls["call_date"] == pd.Timestamp(LAST)) & (calls["queue"] == "Billing") & calls["team"].isin(chosen.teams)
    ]
    assert tables.period(chosen).total["calls"] == len(expected)
    assert set(tables.calls(chosen)["contact_id"]) == set(expected["contact_id"])
    assert set(tables.values("queue", FIRST, LAST)) == {"Billing", "Orders", "Support", "Sales", "Claims", "Returns"}
    assert tables.period(Filter(LAST, LAST, ("Nobody",))).total["calls"] == 0


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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "0"], "'0' is no port; expected a number from 1 to 65535"),
        (["--port", "65536"], "'65536' is no port"),
        (["--out", "no-such-folder"], "--out: no-such-folder is no folder; expected what make demo wrote"),
    ],
)
def test_what_cannot_be_shown_is_said_before_anything_starts(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        launcher.main(arguments)
    assert says in capsys.readouterr().err


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
