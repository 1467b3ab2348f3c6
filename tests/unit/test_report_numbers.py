"""Every number of a report is the tables': each is computed here again, from the calls, in another way.

Both editions, of a day with four weeks before it and of a week with a day missing; and what neither shows: figures of
fewer than five calls, those that would tell them, and, in the summary, anyone's id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from made_up_nights import DAY, GENERATED_AT, Page, clustered_interval, made_up_night, together
from scipy.stats import t

from reporting.aggregates import ClassifierError, Scope, aggregate
from reporting.calls import calls_to_hear, read_calls
from reporting.course import DAYS_BEFORE, PATH, Course, Outside, course
from reporting.headline import headline
from reporting.measures import FEWEST_CALLS, Mean, Usual, too_few
from reporting.night import night
from reporting.periods import Period
from reporting.report import ModelNote, render_page
from schemas import TABLES

WEEK = Period.week(DAY)
MISSING = {DAY - timedelta(days=9), WEEK.first + timedelta(days=1)}
ZONE = "America/New_York"
SHORT = {
    "minutes": (0.5, 0.9),
    "queues": ("Billing", "Support", "Billing", "Support", "Billing", None, "Support", "Sales"),
}
PUBLISHED = "08:41"
ERROR = ClassifierError("m-1-00000000", 3.9)
MODEL = ModelNote(labels=("angry",), corpora=("c",), license="l", commercial_use=True, error=ERROR)
CLOCK = re.compile(r"\d+:\d\d(:\d\d)?")


@pytest.fixture(scope="module")
def nights() -> dict[date, dict[str, pa.Table]]:
    """Five weeks: of Billing and Support enough calls, of Sales and no queue too few on a day."""
    days = [day for day in (*Period.day(DAY).before(DAYS_BEFORE + 4), DAY, *WEEK.days) if day not in MISSING]
    sizes = {day: 23 + 4 * (day.day % 3) for day in days}
    return {day: made_up_night(calls=sizes[day], day=day, seed=day.toordinal(), **SHORT) for day in sorted(set(days))}


def of(nights: Mapping[date, Mapping[str, pa.Table]], days: Any) -> dict[str, pa.Table]:
    return together(*(nights[day] for day in days if day in nights))


# Computed again, with pandas, from the calls


def frames(tables: Mapping[str, pa.Table]) -> dict[str, pd.DataFrame]:
    return {name: tables[name].to_pandas(maps_as_pydicts="strict") for name in tables if tables[name].num_rows}


def mean_index(calls: pd.DataFrame, error: float | None = None) -> dict[str, float]:
    index = calls["satisfaction_index"].astype(float)
    low, high = clustered_interval(list(index), list(calls["customer"]))
    assert low is not None
    assert high is not None
    found = {"index_mean": index.mean(), "index_low": low, "index_high": high}
    if error is not None:
        level_low, level_high = clustered_interval(list(index), list(calls["customer"]), error)
        assert level_low is not None
        assert level_high is not None
        assert level_high - level_low > high - low
        found |= {"level_low": level_low, "level_high": level_high}
    return found


def of_a_group(calls: pd.DataFrame, contacts: pd.DataFrame, few: bool) -> dict[str, float]:
    """``contacts``: with the outcome of their recording."""
    outcome = contacts["outcome"].value_counts()
    found = {name: float(outcome.get(name, 0)) for name in ("quarantined", "skipped", "no_recording", "opted_out")}
    expected = len(contacts) - found["opted_out"]
    found |= {"calls_scored": len(calls), "contacts_expected": expected, "coverage": len(calls) / expected}
    if not few:
        moods = {mood: calls[f"{mood}_share"].mean() for mood in ("negative", "neutral", "positive")}
        found |= {f"{mood}_share": share for mood, share in moods.items()}
        found |= {"ambiguous_share": 1 - sum(moods.values()), "mood_change_mean": calls["mood_change"].mean()}
        found |= {f"{flag}_share": calls[flag].mean() for flag in ("escalated", "recovered")}
        found |= mean_index(calls, ERROR.points)
    return found


def hidden(calls: pd.DataFrame, by: Any) -> set[Any]:
    """Groups of under five calls, and the next smallest until they are five together."""
    sizes = sorted((size, str(group), group) for group, size in calls.groupby(by).size().items())
    chosen = [(size, group) for size, _, group in sizes if size < 5]
    while 0 < sum(size for size, _ in chosen) < 5 and len(chosen) < len(sizes):
        size, _, group = sizes[len(chosen)]
        chosen.append((size, group))
    return {group for _, group in chosen}


def expected_numbers(tables: Mapping[str, pa.Table], history: Mapping[str, pa.Table], edition: str) -> dict[str, float]:
    table = frames(tables)
    calls, recordings = table["calls"], table["recordings"]
    outcome = recordings.set_index("contact_id")
    status = outcome["status"].where(outcome["reason_code"] != "opted_out", "opted_out")
    contacts = table["contacts"].assign(outcome=lambda rows: rows["contact_id"].map(status).fillna("no_recording"))
    for frame in (calls, contacts):
        frame["queue"] = frame["queue"].fillna("no queue")
    calls["customer"] = customers_of(calls, contacts)
    few = hidden(calls, "queue")
    found: dict[str, float] = {}

    def put(name: str, values: Mapping[str, float]) -> None:
        found.update({f"{name}.{column}": value for column, value in values.items()})

    put("total", of_a_group(calls, contacts, few=False))
    put("total", {"escalated": calls["escalated"].sum(), "recovered": calls["recovered"].sum()})
    for queue, rows in contacts.groupby("queue"):
        put(f"queue.{queue}", of_a_group(calls[calls["queue"] == queue], rows, queue in few))
    before = frames(history)
    before["calls"]["customer"] = customers_of(before["calls"], before["contacts"])
    every = pd.concat([before["calls"], calls])
    for day, rows in every.groupby("call_date"):
        put(f"day.{day}", {"calls_indexed": len(rows)} | mean_index(rows))
    hour = calls["started_at"].dt.tz_convert(ZoneInfo(ZONE)).dt.hour
    for each, rows in calls.groupby(hour):
        if each not in hidden(calls, hour):
            put(f"hour.{each}", {"calls_indexed": len(rows)} | mean_index(rows))
    put("path.total", {point: calls[point].mean() for point in PATH if calls[point].count() >= 5})
    for point in PATH:
        known = calls[calls[point].notna()]
        for queue, rows in known.groupby("queue"):
            if queue not in hidden(known, "queue"):
                found[f"path.queue.{queue}.{point}"] = rows[point].mean()
    for (state, code), rows in recordings[recordings["status"] != "scored"].groupby(["status", "reason_code"]):
        found[f"not_scored.{state}.{code}"] = len(rows)
    found["not_scored.expected.no_recording"] = (contacts["outcome"] == "no_recording").sum()
    found |= dict(of_runs(table["runs"]))
    found |= dict(of_calls(tables, edition))
    return found


def customers_of(calls: pd.DataFrame, contacts: pd.DataFrame) -> pd.Series[str]:
    keys = contacts.set_index("contact_id")["customer_key"]
    return calls["contact_id"].map(keys).fillna(calls["contact_id"])


def of_runs(runs: pd.DataFrame) -> Iterator[tuple[str, float]]:
    if len(runs) > 1:
        yield from ((f"day.{row.call_date}.audio_hours", row.audio_hours) for row in runs.itertuples())
    else:
        steps = dict(runs["step_seconds"][0])
        yield from {f"step.{step}": seconds for step, seconds in steps.items()}.items()
        seconds, hours = sum(steps.values()), runs["audio_hours"][0]
        yield from {"run.seconds": seconds, "run.audio_hours": hours, "run.ignored": runs["ignored"][0]}.items()
        yield "run.call_hours_an_hour", hours / seconds * 3600


def of_calls(tables: Mapping[str, pa.Table], edition: str) -> Iterator[tuple[str, float]]:
    rows = {row["contact_id"]: row for row in tables["calls"].to_pylist()}
    if edition == "summary":
        flagged = [code for row in rows.values() for code in row["review_reasons"]]
        yield "total.flagged", sum(bool(row["review_reasons"]) for row in rows.values())
        codes = [code for code in ("sustained_anger", "escalated", "mood_fall", "low_satisfaction") if code in flagged]
        yield from ((f"reason.{number}", flagged.count(code)) for number, code in enumerate(codes, start=1))
        return
    for each in calls_to_hear(read_calls(tables["calls"])):
        contact = each.call.contact_id
        columns = (
            "satisfaction_index",
            "satisfaction_low",
            "satisfaction_high",
            "mood_start",
            "mood_end",
            "anger_peak",
        )
        yield from ((f"call.{contact}.{column}", rows[contact][column]) for column in columns)


def of_stretches(page: Page, tables: Mapping[str, pa.Table]) -> None:
    """The seconds of a timeline's table are those of the call's speech, and anger its mean."""
    segments = frames(tables)["emotion_log"]
    for name in [name for name in page.figures if name.startswith("call.") and name.endswith(".anger_peak")]:
        contact = name.split(".")[1]
        speech = segments[segments["contact_id"] == contact]
        seconds = (speech["end_s"] - speech["start_s"]).groupby(speech["role"]).sum()
        for role in ("customer", "agent"):
            shown = [page.one(each) for each in page.figures if each.startswith(f"stretch.{contact}.") and role in each]
            assert sum(shown) == pytest.approx(seconds[role], rel=1e-4)
        heard = speech[speech["role"] == "customer"]
        for column, shown_as in (("p_angry", "anger"), ("valence", "mood")):
            total = sum(
                page.one(f"stretch.{contact}.{row}.customer_s") * page.one(f"stretch.{contact}.{row}.{shown_as}")
                for row in range(16)
                if f"stretch.{contact}.{row}.{shown_as}" in page.figures
            )
            expected = (heard[column] * (heard["end_s"] - heard["start_s"])).sum()
            assert total == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("edition", ["review", "summary"])
@pytest.mark.parametrize("period", [Period.day(DAY), WEEK], ids=lambda period: period.kind)
def test_every_number_on_the_page_is_the_tables(
    nights: dict[date, dict[str, pa.Table]], period: Period, edition: Any
) -> None:
    tables, before = of(nights, period.days), of(nights, period.before(DAYS_BEFORE))
    history = before["satisfaction_daily"]
    options: dict[str, Any] = {"generated_at": GENERATED_AT, "time_zone": ZONE, "edition": edition, "model": MODEL}
    page = Page(render_page(tables, period=period, history=history, **options))
    expected = expected_numbers(tables, before, edition)
    shown = {name for name in page.figures if not name.startswith(("stretch.", "usual."))}
    assert shown == set(expected)
    for name, value in expected.items():
        assert page.one(name) == pytest.approx(value, rel=1e-4, abs=1e-5), name
    if edition == "review":
        of_stretches(page, tables)
    # Nothing in a cell for numbers is written beside the figures but times of a timeline.
    loose = [text for text in page.bare if re.search(r"\d", text) and not CLOCK.fullmatch(text)]
    known = {str(value) for value in tables["runs"]["run_id"].to_pylist()} | {"0123456789ab", "m-1-00000000"}
    assert [text for text in loose if text not in known and not re.search(r"2026-|^calls 3|^, ", text)] == []
    means = [row["index_mean"] for row in history.to_pylist() if row["scope"] == "total"]
    if period.kind == "day":
        half = t.ppf(0.975, len(means) - 1) * pd.Series(means).std(ddof=1) * (1 + 1 / len(means)) ** 0.5
        assert page.one("usual.high") - page.one("usual.low") == pytest.approx(2 * half, rel=1e-3)
        assert f"usual by the {len(means)} days before" in page.text
    missing = len(MISSING & {*period.days, *period.before(DAYS_BEFORE)})
    assert page.text.count("no published figures") == 2 * missing > 0, "in the picture's words and in the table"


@pytest.mark.parametrize("period", [Period.day(DAY), WEEK], ids=lambda period: period.kind)
def test_the_page_has_the_intervals_of_make_figures(nights: dict[date, dict[str, pa.Table]], period: Period) -> None:
    tables = of(nights, period.days)
    page = Page(render_page(tables, period=period, generated_at=GENERATED_AT, model=MODEL))
    connection = duckdb.connect()
    for name in ("calls", "contacts"):
        connection.register(name, tables[name])
    kind: Any = period.kind
    compared = 0
    for scope in get_args(Scope)[:2]:
        for each in aggregate(
            connection, period=kind, scope=scope, first=period.first, last=period.last, errors=[ERROR]
        ):
            name = "total" if scope == "total" else f"queue.{each.group or 'no queue'}"
            if each.suppressed or f"{name}.index_mean" not in page.figures:
                continue
            shown = [page.one(f"{name}.{bound}") for bound in ("index_low", "index_high", "level_low", "level_high")]
            assert shown == pytest.approx([each.sampling_low, each.sampling_high, each.low, each.high], rel=1e-4)
            assert each.customers is not None
            assert each.calls is not None
            compared += each.customers < each.calls
    assert compared, "no group is shown in which somebody called twice"


def test_of_calls_of_several_models_no_level_is_said(nights: dict[date, dict[str, pa.Table]]) -> None:
    calls = nights[DAY]["calls"]
    models = pa.array(["m-1-00000000"] * (calls.num_rows - 1) + ["another"])
    at = calls.schema.get_field_index("model_id")
    tables = {**nights[DAY], "calls": calls.set_column(at, calls.schema.field(at), models)}
    assert night(tables, ERROR).total.index.level_low is None
    assert night(nights[DAY], ERROR).total.index.level_low is not None


# What is not shown


@pytest.mark.parametrize("period", [Period.day(DAY), WEEK], ids=lambda period: period.kind)
def test_the_summary_names_nobody(nights: dict[date, dict[str, pa.Table]], period: Period) -> None:
    tables = of(nights, period.days)
    people = [f"agent-{number}" for number in range(tables["calls"].num_rows)]
    at = tables["calls"].schema.get_field_index("agent_id")
    tables = {**tables, "calls": tables["calls"].set_column(at, tables["calls"].schema.field("agent_id"), [people])}
    pages = {
        edition: render_page(tables, period=period, generated_at=GENERATED_AT, edition=edition)  # type: ignore[arg-type]
        for edition in ("review", "summary")
    }
    ids = {*people, *tables["recordings"]["source_uri"].to_pylist(), *tables["contacts"]["contact_id"].to_pylist()}
    # Full hours are labels of the hours' chart.
    starts = {f"{start:%H:%M}" for start in tables["calls"]["started_at"].to_pylist() if start.minute}
    assert [each for each in ids if each in pages["review"]]
    assert [each for each in ids if each in pages["summary"]] == []
    assert "s3://" not in pages["summary"]
    assert starts & set(re.findall(r"\d\d:\d\d", pages["review"]))
    assert starts & set(re.findall(r"\d\d:\d\d", pages["summary"].partition("<footer>")[0])) <= {PUBLISHED}
    assert not [picture for picture in Page(pages["summary"]).pictures if "Timeline" in picture["title"]]


def test_of_too_few_calls_a_summary_says_nothing() -> None:
    tables = made_up_night(calls=4)
    view = night(tables).for_sharing()
    assert headline(view, Period.day(DAY), Course())[0].startswith("Fewer than 5 calls have an index")
    page = Page(render_page(tables, period=Period.day(DAY), generated_at=GENERATED_AT, edition="summary"))
    felt = ("index", "share", "mood", "escalated", "recovered", "flagged")
    assert [name for name in page.figures if any(word in name for word in felt)] == []
    assert not page.pictures
    assert page.one("total.calls_scored") == 4


TOO_FEW = [
    ({}, set()),
    ({"a": 5, "b": 9}, set()),
    ({"a": 5, "b": 0}, set()),
    ({"a": 4, "b": 9, "c": 6}, {"a", "c"}),
    ({"a": 4, "b": 1, "c": 6}, {"a", "b"}),
    ({"a": 1, "b": 1, "c": 40, "d": 50}, {"a", "b", "c"}),
    ({"a": 3}, {"a"}),
]


@pytest.mark.parametrize(("calls", "expected"), TOO_FEW, ids=[str(case[0]) for case in TOO_FEW])
def test_groups_that_are_not_shown_hold_five_calls_together(calls: dict[str, int], expected: set[str]) -> None:
    assert too_few(calls) == expected
    held = sum(calls[group] for group in expected)
    assert held == 0 or held >= FEWEST_CALLS or len(expected) == len(calls)


# What is usual


def daily(day: date, **queues: float | None) -> list[dict[str, Any]]:
    """Rows of a day on which each queue had ten calls with this index on average, or, for None, too few."""
    columns = dict.fromkeys(TABLES["satisfaction_daily"].schema.names)
    numbers = {queue: (3 if mean is None else 10, mean or 20.0) for queue, mean in queues.items()}
    rows = [("queue", queue, *figures) for queue, figures in numbers.items()]
    rows.append(
        ("total", None, sum(n for n, _ in numbers.values()), sum(mean for _, mean in numbers.values()) / len(queues))
    )
    return [
        {**columns, "call_date": day, "scope": scope, "queue": queue, "calls_indexed": calls, "index_mean": mean}
        for scope, queue, calls, mean in rows
    ]


def history(today: Mapping[str, float | None], days: int = 20) -> Course:
    before = [
        daily(day, A=50.0 + number % 3, B=60.0 - number % 2) for number, day in enumerate(Period.day(DAY).before(days))
    ]
    rows = [row for day in (*before, daily(DAY, **today)) for row in day]
    schema = pa.schema([TABLES["satisfaction_daily"].schema.field(name) for name in rows[0]])
    return course(pa.Table.from_pylist(rows, schema), Period.day(DAY))


USUAL: list[tuple[Mapping[str, float | None], list[str], int]] = [
    ({"A": 51.0, "B": 59.5}, [], 2),
    ({"A": 45.0, "B": 59.5}, ["A"], 2),
    ({"A": 45.0, "B": 52.0}, ["B", "A"], 2),
    ({"A": 58.0, "B": 55.0}, ["B", "A"], 2),
    ({"A": None, "B": 52.0}, [], 0),
    ({"C": 20.0, "B": 52.0}, ["B"], 1),
]


@pytest.mark.parametrize(("today", "outside", "compared"), USUAL, ids=[str(case[0]) for case in USUAL])
def test_queues_outside_what_is_usual_of_them(
    today: Mapping[str, float | None], outside: list[str], compared: int
) -> None:
    found = history(today)
    assert [each.queue for each in found.outside] == outside
    assert found.compared == compared


def test_under_seven_days_nothing_is_called_usual() -> None:
    assert history({"A": 20.0, "B": 20.0}, days=6) == Course(days=history({"A": 20.0, "B": 20.0}, days=6).days)
    assert history({"A": 20.0, "B": 20.0}, days=7).usual is not None


def test_the_day_in_words_says_which_queue_left_the_usual(nights: dict[date, dict[str, pa.Table]]) -> None:
    view = night(nights[DAY])
    usual = Usual(20, 55.0, 50.0, 60.0)
    how = Course(usual=usual, outside=(Outside("Billing", 41.2, usual), Outside(None, 66.0, usual)), compared=4)
    said = headline(view, Period.day(DAY), how)
    assert said[1] == (
        "Billing fell to 41, usually 50 to 60; no queue rose to 66, usually 50 to 60 (of 4 queues compared, corrected "
        "for that many)."
    )
    assert "50 to 60 that are usual by the 20 days before" in said[0]
    quiet = headline(view, Period.day(DAY), Course(usual=usual, compared=3))
    assert quiet[1].endswith("; none of the 3 queues compared is outside its usual range.")


def test_what_is_usual_holds_as_often_as_it_says() -> None:
    """Of 4,000 days like the 28 before them 5% lie outside; of 4 queues compared, on 5% of the days any."""
    import numpy as np

    chance = np.random.default_rng(7)
    days = chance.normal(55.0, 3.0, size=(1000, 4, 29))
    one = [Usual.of(queue[:28]) for day in days for queue in day]
    outside = [
        not each.low <= last <= each.high for each, last in zip(one, days[:, :, 28].ravel(), strict=True) if each
    ]
    assert np.mean(outside) == pytest.approx(0.05, abs=0.012)
    any_of_four = [
        any(
            not ((found := Usual.of(queue[:28], comparisons=4)) and found.low <= queue[28] <= found.high)
            for queue in day
        )
        for day in days
    ]
    assert np.mean(any_of_four) == pytest.approx(0.05, abs=0.022)


@pytest.mark.parametrize("indices", [[], [50.0], [40.0, 60.0], [2.0, 90.0, 95.0], [55.0] * 7])
def test_a_mean_and_its_interval_of_customers_who_call_once(indices: list[float]) -> None:
    found = Mean.of(indices, range(len(indices)))
    assert found.calls == len(indices)
    if len(indices) < 2:
        assert (found.mean, found.low, found.high) == (indices[0] if indices else None, None, None)
        return
    low, high = t.interval(0.95, len(indices) - 1, sum(indices) / len(indices), pd.Series(indices).sem() or 1e-9)
    assert (found.low, found.high) == pytest.approx((max(0.0, low), min(100.0, high)), abs=1e-6)


PERIODS = [
    (Period.day(date(2026, 11, 20)), 1, "20 November 2026", "on Friday, 20 November 2026"),
    (Period.week(date(2026, 11, 22)), 7, "week 47, 16 to 22 November 2026", None),
    (Period.parse("week", "2026-W53"), 7, "week 53, 28 December to 3 January 2027", None),
    (Period.parse("month", "2028-02"), 29, "February 2028", "in February 2028"),
    (Period.month(date(2026, 12, 31)), 31, "December 2026", None),
]


@pytest.mark.parametrize(("period", "days", "name", "heading"), PERIODS)
def test_periods(period: Period, days: int, name: str, heading: str | None) -> None:
    assert len(period.days) == days
    assert (period.days[0], period.days[-1]) == (period.first, period.last)
    assert period.before(2) == (period.first - timedelta(days=2), period.first - timedelta(days=1))
    assert period.name == name
    assert period.heading == (heading or f"in {name}")


@pytest.mark.parametrize(
    ("kind", "text"), [("week", "2026-47"), ("week", "2026-W54"), ("month", "2026-13"), ("month", "x")]
)
def test_what_is_no_period_is_refused(kind: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' is no {kind}; expected YYYY"):
        Period.parse(kind, text)
