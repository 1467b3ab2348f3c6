"""A day, a week or a month in three sentences, as the report and notifications begin.

Made of the view that the page shows (`reporting.night`), and of how the index went (`reporting.course`).
"""

from __future__ import annotations

import pyarrow as pa

from reporting import words
from reporting.aggregates import ClassifierError
from reporting.calls import queue_name
from reporting.course import Course, course
from reporting.measures import FEWEST_CALLS, Mean
from reporting.night import Night, Tables, night
from reporting.periods import Period
from schemas import definitions as d

QUEUES_IN_SENTENCE = 2


def headline(view: Night, period: Period, how: Course) -> tuple[str, ...]:
    """Say the period in three sentences; one without recordings or scores, in as many as there is to say."""
    if not view.planned:
        return (_nothing_planned(view.total.expected, period),)
    sentences = (_mood_sentence(view, how), _queue_sentence(view, period, how), _coverage_sentence(view))
    return tuple(sentence for sentence in sentences if sentence)


def _nothing_planned(expected: int, period: Period) -> str:
    if not expected:
        return f"No recordings were planned for this {period.kind}."
    return (
        f"No recordings were planned for this {period.kind}, though {words.count(expected, 'contact')} should have "
        "one: check the recordings' place, their layout and the time zone."
    )


def _mood_sentence(view: Night, how: Course) -> str:
    total = view.total
    if total.few:
        return f"Fewer than {FEWEST_CALLS} calls have an index, too few to say how customers felt."
    index, moods = total.index, total.moods
    if moods is None or index.mean is None:
        return "In no call did the customer speak long enough to tell a mood."
    return (
        f"The satisfaction index was {index.mean:.0f} on average{_how_sure(index)}, where {d.INDEX_NEUTRAL:.0f} is "
        f"neutral{_against_the_usual(index.mean, how)}; of the "
        f"customers' speech {words.percent(moods.negative)} was negative, {words.percent(moods.neutral)} neutral and "
        f"{words.percent(moods.positive)} positive; {words.count(view.escalated or 0, 'call')} escalated and "
        f"{words.count(view.recovered or 0, 'recovered', 'recovered')}."
    )


def _how_sure(index: Mean) -> str:
    if index.low is None or index.high is None:
        return ""
    interval = f"95% interval {index.low:.0f} to {index.high:.0f}"
    if index.level_low is not None and index.level_high is not None:
        interval += (
            f"; {index.level_low:.0f} to {index.level_high:.0f} with what the model may be off for all calls alike"
        )
    return f" ({interval})"


def _against_the_usual(index: float, how: Course) -> str:
    usual = how.usual
    if usual is None:
        return ""
    where = "below" if index < usual.low else "above" if index > usual.high else "within"
    return f" and {where} the {usual.low:.0f} to {usual.high:.0f} that are usual by the {usual.days} days before"


def _queue_sentence(view: Night, period: Period, how: Course) -> str:
    mean = view.total.index.mean
    if mean is None or len(view.queues) < 2:
        return ""
    if how.outside:
        return _outside_sentence(how)
    comparable = [group for group in view.queues if group.index.mean is not None]
    if len(comparable) < 2:
        return f"Fewer than two queues had {FEWEST_CALLS} calls, too few to say which fared worst."
    worst = comparable[0]
    says = f"{worst.name} had the lowest index, {words.number(worst.index.mean)}"
    if worst.index.low is not None and worst.index.high is not None:
        says += f" ({worst.index.low:.0f} to {worst.index.high:.0f}), "
        if worst.index.high < mean:
            says += f"clearly below the {period.kind}'s mean"
        else:
            says += f"which may be chance: the {period.kind}'s mean lies within its interval"
    unchanged = f"; none of the {how.compared} queues compared is outside its usual range" if how.compared > 1 else ""
    return f"{says}{unchanged}."


def _outside_sentence(how: Course) -> str:
    fell = [each for each in how.outside if each.change < 0]
    rose = [each for each in reversed(how.outside) if each.change > 0]
    parts = [
        f"{queue_name(each.queue)} {moved} to {each.index:.0f}, usually {each.usual.low:.0f} to {each.usual.high:.0f}"
        for moved, queues in (("fell", fell), ("rose", rose))
        for each in queues[:QUEUES_IN_SENTENCE]
    ]
    rest = len(how.outside) - len(parts)
    others = f", and {words.count(rest, 'other queue')} left the usual" if rest else ""
    return f"{'; '.join(parts)}{others} (of {words.count(how.compared, 'queue')} compared, corrected for that many)."


def _coverage_sentence(view: Night) -> str:
    total = view.total
    rest = [
        f"{amount:,} {what}"
        for amount, what in (
            (total.quarantined, "quarantined"),
            (total.skipped, "skipped"),
            (total.no_recording, "without a recording"),
        )
        if amount
    ]
    scored = f"{total.scored:,} of {words.count(total.expected, 'expected call')} were scored"
    covered = "" if total.coverage is None else f", a coverage of {words.percent(total.coverage)}"
    left_out = words.count(
        total.opted_out, "recording was left out, its customer", "recordings were left out, their customers"
    )
    opted_out = f" {left_out} having opted out." if total.opted_out else ""
    return f"{scored}{covered}{'; ' + words.listing(rest) if rest else ''}.{opted_out}"


def in_sentences(
    tables: Tables, period: Period, history: pa.Table, error: ClassifierError | None = None
) -> tuple[str, ...]:
    """The period in the sentences with which the summary edition begins.

    Parameters
    ----------
    tables, period, history
        Those of `reporting.report.render_page`.
    error
        As for `reporting.night.night`.
    """
    daily = tables["satisfaction_daily"]
    how = course(pa.concat_tables([history.select(daily.column_names), daily]), period)
    return headline(night(tables, error).for_sharing(), period, how)
