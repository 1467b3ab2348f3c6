"""The report on a day, a week or a month: its published tables in, one self-contained HTML page out.

First the view (`reporting.night`), then the template; the demo's summary is made of the same view. Reads no storage
and no clock: the same input gives the same bytes. There are two editions: the review edition shows contact ids and the
recordings' addresses, for those who may see them; the summary edition is made of a view that holds neither a call nor
an id (`Night.for_sharing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import jinja2
import pyarrow as pa
from markupsafe import Markup

from reporting import figures, words
from reporting.aggregates import ClassifierError
from reporting.calls import NO_QUEUE, CallToHear
from reporting.course import DAYS_BEFORE, PATH, Course, HourMean, MoodPath, by_hour, course, mood_paths
from reporting.drift import MUCH, NOTABLE, Profile, drift
from reporting.figures import IndexRow, MoodBar, TimeMark
from reporting.headline import headline
from reporting.judgements import FEWEST as FEWEST_JUDGED
from reporting.judgements import NOT_YET, NOTHING_JUDGED, Measured
from reporting.measures import FEWEST_CALLS
from reporting.night import Group, Tables, night, with_customers
from reporting.periods import Period
from reporting.topics import Topics, topics
from schemas import definitions as d

QUEUES_IN_CHARTS = 12
TOPICS_TITLE = "Which emotions customers' speech shows, by what the call is about"
NEW_MODEL = "another model"
TO_WIN_BACK = 10
_WIN_BACK = {
    "ended_badly": "the call ended badly",
    "called_again": "called again within 7 days",
    "ended_badly, called_again": "called again within 7 days, and the call ended badly",
}
_TEMPLATES = Path(__file__).parent / "templates"

Edition = Literal["review", "summary"]


@dataclass(frozen=True, kw_only=True)
class ModelNote:
    """What the page says of the model.

    Attributes
    ----------
    labels
        The emotions that it tells apart.
    corpora
        What it was trained on.
    license
        Of its weights.
    commercial_use
        Whether they may be used commercially.
    accuracy
        A sentence with its measured figures and the protocol; None where the card has none.
    evaluated_languages
        What was spoken in the tests that these figures are of: primary language subtags of BCP 47.
    error
        How far it may be off for all calls alike; None where the card has no figure for that.
    """

    labels: tuple[str, ...]
    corpora: tuple[str, ...]
    license: str
    commercial_use: bool
    accuracy: str | None = None
    evaluated_languages: tuple[str, ...] = ()
    error: ClassifierError | None = None


@dataclass(frozen=True)
class WinBack:
    """The customers of a period who are to be won back.

    Attributes
    ----------
    customers, ended_badly, called_again
        How many there are, and of these whose last call ended badly and who called again within 7 days.
    first
        Rows of `reporting.win_back.win_back`, the lowest index of the last call first.
    """

    customers: int
    ended_badly: int
    called_again: int
    first: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, found: pa.Table) -> WinBack:
        """Count what `reporting.win_back.win_back` found."""
        rows = found.to_pylist()
        reasons = [row["reason"] for row in rows]
        rows.sort(key=lambda row: (row["index"] is None, row["index"], row["contact_id"]))
        first = tuple({**row, "reason": _WIN_BACK[row["reason"]]} for row in rows[:TO_WIN_BACK])
        return cls(
            customers=len(rows),
            ended_badly=sum("ended_badly" in each for each in reasons),
            called_again=sum("called_again" in each for each in reasons),
            first=first,
        )


def never_evaluated(languages: Iterable[tuple[str, int]], model: ModelNote) -> tuple[tuple[str, int], ...]:
    """Of the languages of the calls, those that the model was not evaluated on, the most frequent first."""
    unknown = (each for each in languages if each[0] not in model.evaluated_languages)
    return tuple(sorted(unknown, key=lambda each: (-each[1], each[0])))


def render_page(
    tables: Tables,
    *,
    period: Period,
    generated_at: datetime,
    edition: Edition = "review",
    history: pa.Table | None = None,
    time_zone: str = "UTC",
    model: ModelNote | None = None,
    judged: Measured = NOTHING_JUDGED,
    profiles: Mapping[date, Profile] | None = None,
    to_win_back: pa.Table | None = None,
) -> str:
    """Render the report on a day, a week or a month.

    Parameters
    ----------
    tables
        As for `night`.
    period
        The days that the tables are of.
    generated_at
        When the page is made, with its time zone.
    edition
        review, with the calls to hear and their ids; or summary, without any id.
    history
        Rows of satisfaction_daily of the days before the period, as for `reporting.course.course`.
    time_zone
        IANA name of the zone in which times are shown.
    model
        What is known of the model; without it the page says only what holds for any.
    judged
        What people's judgements say of the model that classified the last day.
    profiles
        What the data of the period's days and of those before it look like, as for `reporting.drift.drift`.
    to_win_back
        The customers to win back who called last in the period (`reporting.win_back.win_back`).

    Returns
    -------
    The page: HTML that loads nothing and runs no script.
    """
    view = night(tables, None if model is None else model.error)
    view = view if edition == "review" else view.for_sharing()
    zone = ZoneInfo(time_zone)
    daily = tables["satisfaction_daily"]
    how = course(daily if history is None else pa.concat_tables([history.select(daily.column_names), daily]), period)
    about = topics(tables["topic_emotions"])
    moved = drift(profiles or {}, period, DAYS_BEFORE)
    changed = frozenset(each.day for each in moved.changes)
    hours = () if view.total.few else by_hour(with_customers(tables["calls"], tables["contacts"]), zone)
    charted = [group for group in (view.total, *view.queues) if group.index.mean is not None][: QUEUES_IN_CHARTS + 1]
    paths = () if view.total.few else mood_paths(tables["calls"], [(group.name, group.queue) for group in view.queues])
    edge = figures.arc_edge([path.moods for path in paths])

    def local(moment: datetime | None, form: str = "%H:%M") -> str:
        return words.NONE if moment is None else moment.astimezone(zone).strftime(form)

    def call_start(moment: datetime | None) -> str:
        return local(moment, "%H:%M" if period.kind == "day" else "%a %-d %b, %H:%M")

    return (
        _environment()
        .get_template("nightly.html.j2")
        .render(
            view=view,
            review=edition == "review",
            period=period,
            headline=headline(view, period, how),
            how=how,
            drift=moved,
            topics=about,
            notable=NOTABLE,
            much=MUCH,
            new_model=changed,
            hours=hours,
            paths=paths,
            path_points=list(PATH.items()),
            unpublished=[day for day in period.days if day not in {run.call_date for run in view.runs}],
            thin=[run for run in view.runs if run.status != "published"],
            generated_at=generated_at,
            time_zone=time_zone,
            model=model,
            judged=judged,
            fewest_judged=FEWEST_JUDGED,
            not_yet=NOT_YET,
            never_evaluated=() if model is None else never_evaluated(view.languages, model),
            local=local,
            call_start=call_start,
            definitions=d,
            fewest=FEWEST_CALLS,
            no_queue=NO_QUEUE,
            figures=figures,
            charts=_charts(tuple(charted), how, hours, changed, about),
            charted=len(charted),
            uncharted=sum(group.index.mean is not None for group in view.queues) + 1 - len(charted),
            timelines={each.rank: _timeline(each, call_start(each.call.started_at)) for each in view.to_hear},
            win_back=None if to_win_back is None else WinBack.of(to_win_back),
            arcs=_arcs(paths, edge),
            arc_edge=edge,
        )
    )


@dataclass(frozen=True)
class Charts:
    """The pictures that matplotlib draws; None where there is nothing to be drawn."""

    moods: Markup | None
    index: Markup | None
    days: Markup | None
    hours: Markup | None
    topics: Markup | None


# Drawing takes most of the time that a page takes, and both editions show the same pictures.
@lru_cache(maxsize=1)
def _charts(
    groups: tuple[Group, ...], how: Course, hours: tuple[HourMean, ...], new_model: frozenset[date], about: Topics
) -> Charts:
    bars = [MoodBar(group.name, group.moods.stacked) for group in groups if group.moods is not None]
    rows = [
        IndexRow(group.name, group.index.mean, group.index.low, group.index.high)
        for group in groups
        if group.index.mean is not None
    ]
    days = [
        TimeMark(f"{each.day:%-d %b}", *(each.index, each.said, each.in_period), NEW_MODEL * (each.day in new_model))
        for each in how.days
    ]
    usual = None if how.usual is None else (how.usual.low, how.usual.high)
    of_hours = [TimeMark(f"{each.hour}:00", each.index, "too few calls" if each.few else "") for each in hours]
    neutral = d.INDEX_NEUTRAL
    titles = (
        "Customers' moods by queue: shares of their speech",
        *(f"Satisfaction index by {group}, with its interval" for group in ("queue", "day", "hour")),
    )
    return Charts(
        moods=figures.mood_chart("moods", titles[0], bars) if bars else None,
        index=figures.index_chart("index", titles[1], rows, neutral) if rows else None,
        days=_over_time("days", titles[2], days, every=7 if len(days) < 40 else 14, usual=usual),
        hours=_over_time("hours", titles[3], of_hours, every=2),
        topics=figures.topic_chart("topics", TOPICS_TITLE, about.shown) if about.shown else None,
    )


def _over_time(
    name: str, title: str, marks: Sequence[TimeMark], *, every: int, usual: tuple[float, float] | None = None
) -> Markup | None:
    if all(mark.index.mean is None for mark in marks):
        return None
    return figures.time_chart(name, title, marks, d.INDEX_NEUTRAL, every=every, usual=usual)


def _arcs(paths: Sequence[MoodPath], edge: float) -> list[Markup]:
    return [
        figures.arc(f"path-{number}", f"Mood through a call, {path.name}", list(PATH.values()), path.moods, edge)
        for number, path in enumerate(paths[: QUEUES_IN_CHARTS + 1], start=1)
    ]


def _timeline(each: CallToHear, start: str) -> Markup:
    title = f"Timeline of the call at {start}, {each.call.queue_name}"
    return figures.timeline(f"call-{each.rank}", title, each.speech, each.duration_s, each.topics)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "number": words.number,
        "signed": words.signed,
        "clock": words.clock,
        "duration": words.duration,
        "printable": words.printable,
        "language": words.language,
        "listing": words.listing,
    }
    return environment
