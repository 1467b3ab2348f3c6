"""Pictures of the report, as inline SVG that takes its colors from the page: light, dark and print alike.

Charts with axes are drawn by matplotlib; a call's timeline and a mood path are a few marks, written here, which
stretch to the width that they get while the text around them stays text. Every picture has a title and a
description, holds no address, no date and no id that another picture has, and is the same for the same input.
Colors are of Okabe and Ito's palette, told apart with any color vision. Knows nothing of tables or of the page.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree

from markupsafe import Markup, escape

from reporting.measures import Mean
from reporting.words import clock, count, percent, printable
from schemas.definitions import NEGATIVE_EMOTIONS, POSITIVE_EMOTIONS, SUSTAINED_ANGER_PEAK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from reporting.topics import TopicMoods, TopicTime

EMOTION_COLORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "angry": "#d55e00",
        "disgusted": "#e69f00",
        "fearful": "#cc79a7",
        "sad": "#0072b2",
        "neutral": "#9aa0a6",
        "calm": "#56b4e9",
        "bored": "#c4c0b6",
        "sleepy": "#7d766b",
        "surprised": "#f0e442",
        "happy": "#009e73",
        "amused": "#7fd1b5",
    }
)
"""Color of each emotion, in the order of a legend: negative, neutral, ambiguous, positive."""

MOOD_COLORS: Final[Mapping[str, str]] = MappingProxyType(
    {"negative": "#d55e00", "neutral": "#b4b9be", "ambiguous": "#f0e442", "positive": "#009e73"}
)
"""Color of each mood, in the order in which a bar stacks them."""

TIMELINE_HEIGHT: Final = 148
ARC_EDGE: Final = 0.2
"""Mood at the upper edge of a mood path, and below 0 at the lower, where no path goes farther."""

PALETTE: Final = "Okabe and Ito"
"""Whose palette the colors are of, besides grays and a pale green."""

# Top and height of each lane.
_AGENT_LANE = (4, 16)
_CUSTOMER_LANES = {"positive": (32, 22), "neutral": (43, 22), "negative": (54, 22)}
_ANGER_TOP, _ANGER_BOTTOM = 92, 142
_WIDTH = 1000

LANES: Final[Mapping[str, float]] = MappingProxyType(
    {"Agent": 12.0, "Customer": 54.0, "Anger": (_ANGER_TOP + _ANGER_BOTTOM) / 2}
)
"""What the page writes beside a timeline, and how far from its top."""

# matplotlib draws in these colors; the page's variables take their place. "on-color" is text upon a bar.
_THEME = {
    f"#0000{number:02x}": f"var(--{variable})"
    for number, variable in enumerate(
        [
            *("ink", "muted", "line", "accent", "soft"),
            *(f"mood-{mood}" for mood in MOOD_COLORS),
            *(f"e-{emotion}" for emotion in EMOTION_COLORS),
        ],
        start=1,
    )
}
_INK, _MUTED, _LINE, _ACCENT, _SOFT = list(_THEME)[:5]
_MOOD = dict(zip(MOOD_COLORS, list(_THEME)[5:9], strict=True))
_EMOTION = dict(zip(EMOTION_COLORS, list(_THEME)[9:], strict=True))
_ON_COLOR = "#16191c"
_ON_DARK_COLOR = "#ffffff"
_DARK = frozenset({"sad", "sleepy"})
"""Emotions upon whose colors light text reads better."""
_UNITS_PER_INCH = 72
_CHART_WIDTH = 340
_ROW_HEIGHT = 44
_TIME_HEIGHT = 210
_LABEL_LENGTH = 32


@dataclass(frozen=True)
class Speech:
    """A stretch of speech in a call; what the classifier said of it, or None.

    Attributes
    ----------
    role
        customer, agent or mixed.
    start_s, end_s
        From the start of the recording.
    """

    role: str
    start_s: float
    end_s: float
    emotion: str | None = None
    confidence: float | None = None
    valence: float | None = None
    anger: float | None = None

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class MoodBar:
    """A row of the chart of moods: shares of speech, 0 to 1, in the order of `MOOD_COLORS`."""

    label: str
    shares: tuple[float, float, float, float]


@dataclass(frozen=True)
class IndexRow:
    """A row of the chart of indices: the mean, 0 to 100, and its interval where it has one."""

    label: str
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class TimeMark:
    """A mark of a chart over time: what it is of, the mean index, why there is none, and whether it is the matter.

    ``begins`` says what is another from this mark on, such as the model.
    """

    label: str
    index: Mean
    said: str = ""
    stressed: bool = True
    begins: str = ""


def mood_of(emotion: str) -> str:
    """Which lane of a timeline an emotion is in: negative, positive or, for all others, neutral."""
    return "negative" if emotion in NEGATIVE_EMOTIONS else "positive" if emotion in POSITIVE_EMOTIONS else "neutral"


# A call


def timeline(
    name: str, title: str, speech: Sequence[Speech], duration_s: float, told: Sequence[TopicTime] = ()
) -> Markup:
    """Draw who speaks when, the customer's emotion and the probability of anger.

    From the top: the agent's turns; the customer's segments, colored by emotion, positive ones higher and negative
    ones lower than neutral ones; the probability of anger, 0 to 1, with the threshold of sustained anger.

    Parameters
    ----------
    name
        Unique in the page.
    speech
        In order of start.
    duration_s
        Length of the picture.
    told
        What the call was about, which the description says; the page shows it below.
    """
    scale = _WIDTH / duration_s
    marks = [Markup('<path class="agent" d="{}"/>').format(_blocks(speech, scale))]
    marks += [_segment(part, scale) for part in speech if part.role != "agent"]
    heard = [part for part in speech if part.role != "agent" and part.anger is not None]
    for anger, kind in ((0.0, "axis"), (SUSTAINED_ANGER_PEAK, "threshold")):
        y = _anger_y(anger)
        marks.append(Markup('<path class="{}" d="M0 {}H{}"/>').format(kind, y, _WIDTH))
    if heard:
        points = " ".join(
            f"{x * scale:.1f},{_anger_y(part.anger or 0.0)}" for part in heard for x in (part.start_s, part.end_s)
        )
        marks.append(Markup('<polyline class="anger" points="{}"/>').format(points))
    words = _in_words(speech) + (f" It is about {topics_in_words(told)}." if told else "")
    return _picture(name, "timeline", f"0 0 {_WIDTH} {TIMELINE_HEIGHT}", title, words, marks, stretch=True)


def topics_in_words(told: Sequence[TopicTime]) -> str:
    """Say what a call was about, and when."""
    return ", ".join(f"{printable(each.topic)} ({clock(each.start_s)} to {clock(each.end_s)})" for each in told)


def arc_edge(paths: Sequence[Sequence[float | None]]) -> float:
    """The mood at the edges of pictures of these paths: a tenth that holds them all, and at least `ARC_EDGE`."""
    farthest = max((abs(mood) for path in paths for mood in path if mood is not None), default=0.0)
    return max(ARC_EDGE, math.ceil(round(10 * farthest, 6)) / 10)


def arc(name: str, title: str, points: Sequence[str], moods: Sequence[float | None], edge: float) -> Markup:
    """Draw a mood path: mean valence at points of a call from left to right, ``edge`` at the top, 0 in the middle.

    Parameters
    ----------
    points
        What the points are called.
    """
    step = 104 / max(1, len(moods) - 1)
    places = [
        None if mood is None else (round(8 + step * number, 1), round(30 - 26 * max(-1.0, min(1.0, mood / edge)), 1))
        for number, mood in enumerate(moods)
    ]
    marks = [Markup('<path class="edge" d="M0 4H120M0 56H120"/><path class="axis" d="M0 30H120"/>')]
    marks += [
        Markup('<path class="path" d="M{} {}L{} {}"/>').format(*start, *end)
        for start, end in pairwise(places)
        if start is not None and end is not None
    ]
    marks += [
        Markup('<circle class="{}" cx="{}" cy="{}" r="3"/>').format("up" if place[1] <= 30 else "down", *place)
        for place in places
        if place is not None
    ]
    words = ", ".join(
        f"{point} {'not shown' if mood is None else f'{mood:+.2f}'}" for point, mood in zip(points, moods, strict=True)
    )
    return _picture(name, "arc", "0 0 120 60", title, f"Mean mood, -1 to 1: {words}.", marks)


def _blocks(speech: Sequence[Speech], scale: float) -> str:
    top, height = _AGENT_LANE
    return "".join(
        f"M{part.start_s * scale:.1f} {top}h{part.seconds * scale:.1f}v{height}h-{part.seconds * scale:.1f}z"
        for part in speech
        if part.role == "agent"
    )


def _segment(part: Speech, scale: float) -> Markup:
    top, height = _CUSTOMER_LANES[mood_of(part.emotion) if part.emotion else "neutral"]
    says = f"{clock(part.start_s)} to {clock(part.end_s)}: "
    says += f"{part.emotion} {part.confidence or 0:.0%}" if part.emotion else "not classified"
    says += f", anger {part.anger:.2f}" if part.anger is not None else ""
    return Markup('<rect class="e-{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}"><title>{}</title></rect>').format(
        part.emotion or "none", part.start_s * scale, top, part.seconds * scale, height, says
    )


def _anger_y(probability: float) -> float:
    return round(_ANGER_BOTTOM - (_ANGER_BOTTOM - _ANGER_TOP) * probability, 1)


def _in_words(speech: Sequence[Speech]) -> str:
    heard = [part for part in speech if part.emotion is not None and part.role != "agent"]
    if not heard:
        return "No speech was classified."
    seconds: dict[str, float] = {}
    for part in heard:
        seconds[str(part.emotion)] = seconds.get(str(part.emotion), 0.0) + part.seconds
    longest_first = sorted(seconds, key=lambda emotion: -seconds[emotion])
    who = "Both sides" if any(part.role == "mixed" for part in heard) else "Customer"
    says = f"{who}: {', '.join(f'{emotion} {seconds[emotion]:.0f} s' for emotion in longest_first)}."
    worst = max(heard, key=lambda part: part.anger or 0.0)
    return says if worst.anger is None else f"{says} Anger is highest, {worst.anger:.2f}, at {clock(worst.start_s)}."


def _picture(
    name: str, kind: str, view_box: str, title: str, description: str, marks: Sequence[Markup], *, stretch: bool = False
) -> Markup:
    return Markup(
        '<svg class="{kind}" viewBox="{box}"{stretch} role="img" aria-labelledby="{name}-t {name}-d">'
        '<title id="{name}-t">{title}</title><desc id="{name}-d">{description}</desc>{marks}</svg>'
    ).format(
        kind=kind,
        box=view_box,
        stretch=Markup(' preserveAspectRatio="none"') if stretch else "",
        name=name,
        title=title,
        description=description,
        marks=Markup("").join(marks),
    )


# Charts


def mood_chart(name: str, title: str, bars: Sequence[MoodBar]) -> Markup:
    """Draw shares of speech by mood, a stacked bar a row, the first row on top."""
    figure, axes = _chart(len(bars))
    for row, bar in enumerate(bars):
        left = 0.0
        for mood, share in zip(MOOD_COLORS, bar.shares, strict=True):
            axes.barh(row, share, left=left, height=0.4, color=_MOOD[mood], linewidth=0, clip_on=False)
            if share >= 0.1:
                label = f"{share:.0%}"
                axes.text(left + share / 2, row + 0.02, label, color=_ON_COLOR, fontsize=11, ha="center", va="center")
            left += share
        _row_label(axes, row, bar.label)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100%"])
    words = "; ".join(
        f"{bar.label}: " + ", ".join(f"{share:.0%} {mood}" for mood, share in zip(MOOD_COLORS, bar.shares, strict=True))
        for bar in bars
    )
    return _inline(figure, name, title, words + ".")


def topic_chart(name: str, title: str, topics: Sequence[TopicMoods]) -> Markup:
    """Draw which emotions speech about topics shows, a stacked bar a row, in the order of `EMOTION_COLORS`.

    Anger begins each bar; the line below it is anger's interval.
    """
    figure, axes = _chart(len(topics))
    said = []
    for row, topic in enumerate(topics):
        left, shares = 0.0, dict(topic.emotions)
        for emotion in EMOTION_COLORS:
            share = shares.get(emotion, 0.0)
            axes.barh(row, share, left=left, height=0.4, color=_EMOTION[emotion], linewidth=0, clip_on=False)
            if share >= 0.1:
                color = _ON_DARK_COLOR if emotion in _DARK else _ON_COLOR
                label = f"{share:.0%}"
                axes.text(left + share / 2, row + 0.02, label, color=color, fontsize=11, ha="center", va="center")
            left += share
        axes.plot([topic.anger_low, topic.anger_high], [row + 0.29] * 2, color=_INK, linewidth=2)
        label, calls = printable(topic.topic), count(topic.calls, "call")
        _row_label(axes, row, label, calls)
        listed = ", ".join(f"{emotion} {percent(share)}" for emotion, share in topic.emotions)
        interval = f"{percent(topic.anger_low)} to {percent(topic.anger_high)}"
        said.append(f"{label}, {calls}: {listed} (95% interval of angry {interval})")
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100%"])
    return _inline(figure, name, title, "; ".join(said) + ".")


def index_chart(name: str, title: str, rows: Sequence[IndexRow], neutral: float) -> Markup:
    """Draw mean indices with their intervals, a row each, the first on top, and a line at ``neutral``."""
    figure, axes = _chart(len(rows))
    axes.axvline(neutral, color=_MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=0)
    for number, row in enumerate(rows):
        if row.low is not None and row.high is not None:
            # The mean of a few calls can have an interval that leaves the scale.
            ends = [max(0.0, row.low), min(100.0, row.high)]
            axes.plot(ends, [number] * 2, color=_ACCENT, linewidth=3, solid_capstyle="round", clip_on=False)
        axes.plot([row.mean], [number], "o", color=_ACCENT, markersize=9, clip_on=False)
        _row_label(axes, number, row.label, f"{row.mean:.0f}" + _interval(row))
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 20, 40, 60, 80, 100])
    words = "; ".join(f"{row.label}: {row.mean:.0f}{_interval(row)}" for row in rows)
    return _inline(figure, name, title, f"{words}. The dashed line is neutral, {neutral:.0f}.")


def time_chart(
    name: str,
    title: str,
    marks: Sequence[TimeMark],
    neutral: float,
    *,
    usual: tuple[float, float] | None = None,
    every: int,
) -> Markup:
    """Draw mean indices with their intervals over time, from left to right.

    A mark without a mean is a cross at the bottom, so that nothing is taken for no change. Where something begins,
    there is a dotted line.

    Parameters
    ----------
    marks
        At least one with a mean; those that are not stressed are drawn pale.
    neutral
        A dashed line, where the picture reaches it.
    usual
        Ends of a band.
    every
        From the last mark back, of how many one is labelled.
    """
    figure, axes = _axes(_TIME_HEIGHT, left=30)
    ends = [end for mark in marks for end in (mark.index.low, mark.index.mean, mark.index.high) if end is not None]
    ends += usual or ()
    bottom, top = 10 * math.floor((min(ends) - 5) / 10), 10 * math.ceil(max(ends) / 10)
    if usual is not None:
        axes.axhspan(*usual, color=_SOFT, linewidth=0, zorder=0)
    if bottom < neutral < top:
        axes.axhline(neutral, color=_MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    for place, mark in enumerate(marks):
        color = _ACCENT if mark.stressed else _MUTED
        if mark.begins:
            axes.axvline(place - 0.5, color=_MUTED, linewidth=1.5, linestyle=(0, (1, 2)))
            axes.text(place - 0.4, top, mark.begins, color=_MUTED, fontsize=10, va="top", ha="left")
        if mark.index.mean is None:
            axes.plot([place], [bottom + 0.03 * (top - bottom)], "x", color=_MUTED, markersize=5, clip_on=False)
            continue
        if mark.index.low is not None and mark.index.high is not None:
            axes.plot([place] * 2, [mark.index.low, mark.index.high], color=color, linewidth=2, alpha=0.55)
        axes.plot([place], [mark.index.mean], "o", color=color, markersize=6 if mark.stressed else 4)
    labelled = range((len(marks) - 1) % every, len(marks), every)
    axes.set_xlim(-0.7, len(marks) - 0.3)
    axes.set_xticks(list(labelled), [marks[place].label for place in labelled])
    axes.set_ylim(bottom, top)
    axes.set_yticks(range(bottom, top + 1, 10 if top - bottom <= 60 else 20))
    axes.grid(axis="y", color=_LINE, linewidth=1)
    words = "; ".join(f"{mark.label}: {_mean_in_words(mark)}" for mark in marks if mark.index.calls or mark.said)
    band = f" The band, {usual[0]:.0f} to {usual[1]:.0f}, is what is usual." if usual is not None else ""
    line = f" The dashed line is neutral, {neutral:.0f}." if bottom < neutral < top else ""
    return _inline(figure, name, title, f"{words}.{band}{line}")


def _mean_in_words(mark: TimeMark) -> str:
    index = mark.index
    begins = f"{mark.begins} from here on, " if mark.begins else ""
    if index.mean is None:
        return begins + (mark.said or "no calls")
    return f"{begins}{index.mean:.0f}" + (f" ({index.low:.0f} to {index.high:.0f})" if index.low is not None else "")


def _interval(row: IndexRow) -> str:
    return "" if row.low is None or row.high is None else f" ({row.low:.0f} to {row.high:.0f})"


def _chart(rows: int) -> tuple[Figure, Axes]:
    figure, axes = _axes(_ROW_HEIGHT * rows + 30, left=8)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_yticks([])
    axes.grid(axis="x", color=_LINE, linewidth=1)
    return figure, axes


def _axes(height: float, left: float) -> tuple[Figure, Axes]:
    """A figure of the width of all charts, its axes without a frame."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_CHART_WIDTH / _UNITS_PER_INCH, height / _UNITS_PER_INCH))
    width = 1 - (left + 20) / _CHART_WIDTH
    axes = figure.add_axes((left / _CHART_WIDTH, 28 / height, width, 1 - 34 / height))
    axes.tick_params(length=0, labelsize=11, labelcolor=_MUTED, pad=6)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure, axes


def _row_label(axes: Axes, row: int, label: str, value: str = "") -> None:
    short = label if len(label) <= _LABEL_LENGTH else label[: _LABEL_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"
    place, above = axes.get_yaxis_transform(), row - 0.27
    # A queue's name may hold dollar signs, between which matplotlib would read a formula.
    axes.text(0, above, short, color=_INK, fontsize=12.5, va="bottom", transform=place, parse_math=False)
    axes.text(1, above, value, color=_MUTED, fontsize=11.5, va="bottom", ha="right", transform=place)


def _inline(figure: Figure, name: str, title: str, description: str) -> Markup:
    """Turn a figure into SVG for the page: its colors and font the page's, its ids its own, nothing superfluous."""
    import matplotlib

    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "callmood"}), warnings.catch_warnings():
        # The browser draws the text, in its own font: that matplotlib's lacks a sign does not matter.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(drawn.getvalue())  # noqa: S314 - written by matplotlib a line above
    texts = [str(value) for element in root.iter() for value in element.attrib.values()]
    used = {found for text in texts for found in re.findall(r"#([\w-]+)", text)}
    for element in root.iter():
        _adapt(element, name, used)
    box = root.attrib["viewBox"]
    marks = [Markup(ElementTree.tostring(part, encoding="unicode")) for part in root if part.tag == "g"]  # nosec B704 # noqa: S704
    return _picture(name, "chart", box, title, description, marks)


def _adapt(element: ElementTree.Element, name: str, used: set[str]) -> None:
    element.tag = element.tag.rpartition("}")[2]
    element.text, element.tail = (text and text.strip() for text in (element.text, element.tail))
    for key in list(element.attrib):
        value = element.attrib.pop(key)
        key = key.rpartition("}")[2]
        # Clipping to the axes is left out with its shapes: nothing is drawn outside them but on purpose.
        if key == "clip-path" or (key == "id" and value not in used):
            continue
        if key == "id":
            value = f"{name}-{value}"
        elif key == "href":
            value = value.replace("#", f"#{name}-")
        elif key == "d":
            value = " ".join(value.split())
        elif key == "style":
            value = re.sub(r"font-family:[^;]*;?\s*", "", value)
            for sentinel, variable in _THEME.items():
                value = value.replace(sentinel, variable)
        element.attrib[key] = value


def legend(colors: Mapping[str, str], shown: Sequence[str], variable: str) -> Markup:
    """Write a legend: a swatch and a name for each of ``shown`` that has a color, in the colors' order."""
    return Markup("").join(
        Markup('<li><span class="swatch" style="background:var(--{}-{})"></span>{}</li>').format(variable, name, name)
        for name in colors
        if name in shown
    )


def color_variables() -> Markup:
    """Write the colors as the CSS variables that the pictures use."""
    moods = (f"--mood-{mood}:{color};" for mood, color in MOOD_COLORS.items())
    emotions = (f"--e-{emotion}:{color};" for emotion, color in EMOTION_COLORS.items())
    return escape("".join((*moods, *emotions)))
