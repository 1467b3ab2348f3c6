"""What ``make demo`` says at its end: the night in a few lines, and where to look further.

Made of the same view as the report, so that both say the same. Lines are plain where the console is no terminal.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.text import Text

from reporting import words
from reporting.calls import CallToHear
from reporting.figures import MOOD_COLORS
from reporting.night import Night, night

BAR_WIDTH = 40
CALLS_SHOWN = 5
QUERY = (
    "select queue, count(*) as calls, round(avg(satisfaction_index), 1) as satisfaction, "
    "round(avg(negative_share), 2) as negative from calls group by queue order by satisfaction"
)


def print_summary(
    tables: Mapping[str, pa.Table], *, seconds: float, report: Path, warehouse: Path, console: Console
) -> None:
    """Print what a night came to.

    Parameters
    ----------
    tables
        The published tables of the night's day, by name.
    seconds
        What the whole night took, from the first upload on.
    report, warehouse
        Where the report and the tables are.
    """
    for line in summary_lines(night(tables), seconds=seconds, report=report, warehouse=warehouse):
        # Never wrapped: a path or a query that is cut by a line break cannot be copied.
        console.print(line, soft_wrap=True, highlight=False)


def summary_lines(view: Night, *, seconds: float, report: Path, warehouse: Path) -> Iterator[Text]:
    """Say what a night came to, line by line."""
    total = view.total
    skipped = total.skipped + total.opted_out
    counts = f"{view.planned} planned: {total.scored} scored, {total.quarantined} quarantined, {skipped} skipped"
    yield Text()
    yield _entry("Recordings", Text(counts))
    for line in view.not_scored:
        what = "without a recording" if line.status == "expected" else f"{line.status} as {line.reason_code}"
        yield _entry("", Text(f"{line.amount} {words.printable(what)}: {line.reason.why}"))
    if total.moods is not None:
        yield _entry("Moods", _mood_bar(view))
        yield _entry("", _mood_words(view))
    for number, each in enumerate(view.to_hear[:CALLS_SHOWN]):
        yield _entry("" if number else "Hear first", _call(each))
        yield _entry("", Text("   " + "; ".join(reason[:1].lower() + reason[1:] for reason in each.reasons)))
    if view.to_hear and not view.flagged:
        yield _entry("", Text("(no call met a rule for review; these have the lowest index)"))
    if view.run is not None and view.run.audio_hours:
        hours = view.run.audio_hours
        speed = f"{words.number(3600 * hours / seconds)} call hours an hour"
        yield _entry("Speed", Text(f"{speed}: {hours:.2f} call hours in {words.duration(seconds)}, all included"))
    yield _entry("Report", Text(str(report), style="bold"))
    yield _entry("Tables", Text(str(warehouse), style="bold"))
    yield _entry("Query", Text(f'make sql OUT={shlex.quote(str(warehouse.parent))} Q="{QUERY}"', style="bold"))


def _entry(name: str, content: Text) -> Text:
    return Text.assemble((f"{name:<12}", "bold cyan"), content)


def _mood_bar(view: Night) -> Text:
    moods = view.total.moods
    assert moods is not None  # noqa: S101 - summary_lines asks first
    bar = Text()
    drawn, reached = 0, 0.0
    # A sign a mood, so that the bar can be read without its colors.
    for sign, color, share in zip("-.?+", MOOD_COLORS.values(), moods.stacked, strict=True):
        reached += share
        width = round(BAR_WIDTH * reached) - drawn
        bar.append(sign * width, style=f"#101010 on {color}")
        drawn += width
    return bar


def _mood_words(view: Night) -> Text:
    total = view.total
    assert total.moods is not None  # noqa: S101 - summary_lines asks first
    shares = zip(MOOD_COLORS, total.moods.stacked, strict=True)
    says = ", ".join(f"{words.percent(share)} {mood}" for mood, share in shares)
    index = total.index
    low, high = words.number(index.low), words.number(index.high)
    interval = "" if index.low is None else f" (95% interval {low} to {high})"
    return Text(f"{says}; satisfaction index {words.number(index.mean)}{interval}")


def _call(each: CallToHear) -> Text:
    where = f" ({each.call.queue_name}, {words.clock(each.call.duration_s)})"
    return Text.assemble(f"{each.rank}. ", (words.printable(each.call.contact_id), "bold"), where)
