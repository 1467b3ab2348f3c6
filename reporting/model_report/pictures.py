"""The pictures of the report on a model: each answers the one question in its title. Draws figures, computes none."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reporting.model_report.figures import FALL, Report

_BLUE, _ORANGE, _GREY, _RED, _LIGHT = "#1f5fa8", "#d9822b", "#8a8f98", "#b3261e", "#c9d9ec"
_DPI: Final = 110
_PER_CENT: Final = 100


def draw_pictures(report: Report, folder: Path) -> list[str]:
    """Draw every picture that the report has figures for, as PNG, and return their file names."""
    drawn = []
    for name, (size, draw) in PICTURES.items():
        figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure, report)
        # Without a date or a version, so that the same figures give the same file.
        figure.savefig(folder / name, metadata={"Software": None})
        drawn.append(name)
    return drawn


def _axes(figure: Figure, title: str, x: str = "", y: str = "") -> Axes:
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _dots(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    colors: Sequence[str],
) -> None:
    """Draw a row a name: a dot, its 95% interval and the number."""
    for row, (value, (low, high), color) in enumerate(zip(values, intervals, colors, strict=True)):
        axes.plot([low, high], [row, row], color=color, linewidth=5, alpha=0.3, solid_capstyle="butt")
        axes.plot([value], [row], "o", color=color, markersize=8)
        axes.annotate(
            f"{value:.3f}", (max(high, value), row), (8, 0), textcoords="offset points", va="center", color=color
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", color="#e5e7eb")
    axes.set_axisbelow(True)


def _conditions(figure: Figure, report: Report) -> None:
    results = list(report.conditions.values())
    clean = report.conditions["clean"].uar
    axes = _axes(figure, "What does the telephone cost?", "UAR, eight emotions, unseen speakers (bar: 95% interval)")
    colors = [_RED if result.condition in report.falls else _BLUE for result in results]
    names = [
        result.condition + ("" if result.condition == "clean" else f"\n{result.unchanged:.0%} named as in clean")
        for result in results
    ]
    _dots(axes, names, [r.uar for r in results], [r.uar_interval for r in results], colors)
    axes.axvline(clean - FALL, color=_GREY, linestyle="--", linewidth=1)
    axes.annotate(
        "3 points below clean (red: beyond)",
        (clean - FALL, 0),
        (3, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left",
        fontsize=8,
        color=_GREY,
    )
    axes.margins(x=0.12)


def _confusion(figure: Figure, report: Report) -> None:
    result = report.conditions["g711"]
    counts = np.array(result.confusion, dtype=float)
    shares = _PER_CENT * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes = _axes(figure, "What is taken for what? (per cent of each row)", "what the network says", "the acted emotion")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=_PER_CENT)
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > _PER_CENT / 2 else "#333333"
        axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=9, color=color)
    axes.set_xticks(range(len(result.labels)), result.labels, rotation=40, ha="right")
    axes.set_yticks(range(len(result.labels)), result.labels)
    axes.spines[:].set_visible(False)


def _reliability(figure: Figure, report: Report) -> None:
    axes = _axes(
        figure, "Is it right as often as it says?", "confidence of the most probable emotion", "share that is right"
    )
    found = report.calibration
    after = report.conditions["g711"].ece
    (diagonal,) = axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1)
    for bins, color, name in (
        (found.before, _ORANGE, f"without temperature (ECE {found.ece_before:.3f})"),
        (found.after, _BLUE, f"with temperature (ECE {after:.3f})"),
    ):
        axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], "-", color=color, linewidth=1.5)
        axes.scatter(
            [b.confidence for b in bins],
            [b.accuracy for b in bins],
            s=[20 + 500 * b.share for b in bins],
            color=color,
            alpha=0.75,
            label=name,
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    legend = axes.legend(loc="upper left", frameon=False, title="a dot's size: how many clips", fontsize=9)
    for handle in legend.legend_handles:
        handle.set_sizes([60])  # type: ignore[union-attr]
    axes.add_artist(legend)
    axes.legend([diagonal], ["right exactly as often as it says"], loc="lower right", frameon=False, fontsize=9)


def _anger(figure: Figure, report: Report) -> None:
    found = report.anger
    axes = _axes(
        figure,
        "When a segment is flagged angry, is it?",
        "recall: share of the angry segments that are flagged",
        "precision: share of the flagged that are angry",
    )
    for (prevalence, precisions), color in zip(found.precisions.items(), (_RED, _ORANGE, _BLUE), strict=True):
        known = [(recall, value) for recall, value in zip(found.recalls, precisions, strict=True) if value == value]
        axes.plot(*zip(*known, strict=True), color=color, linewidth=2, label=f"{prevalence:.0%} of the speech is angry")
        rule = found.rules[0]
        axes.plot([rule.recall], [rule.precision[prevalence]], "o", color=color, markersize=8)
    axes.plot([], [], "o", color=_GREY, label="flagged when angry is the most probable")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.grid(color="#e5e7eb")
    axes.legend(loc="lower left", fontsize=9)


def _calls(figure: Figure, report: Report) -> None:
    found = report.calls
    rule = next(rule for rule in found.rules if rule.name == "sustained_anger")
    axes = _axes(
        figure,
        "Do 20 s of anger stand out from calm calls?",
        "anger_peak of a composed call: the highest mean p_angry over 10 s",
        "share of the calls",
    )
    edges = np.linspace(0, 1, 41).tolist()
    for peaks, color, name in (
        (found.calm_peaks, _BLUE, "calm to the end"),
        (found.escalating_peaks, _RED, "angry for the last 20 s"),
    ):
        weights = np.full(len(peaks), 1 / len(peaks))
        axes.hist(peaks, edges, weights=weights, color=color, alpha=0.55, label=name)
    top = axes.get_ylim()[1]
    for value, style, name in (
        (rule.used.second, "-", f"in use: {rule.used.second:.2f}"),
        (rule.found.second, "--", f"by these calls: {rule.found.second:.2f}"),
    ):
        axes.axvline(value, color="#333333", linestyle=style, linewidth=1.5, label=name)
    real = [row.anger_peak for row in report.recordings if row.anger_peak is not None]
    if real:
        height = [top / 40] * len(real)
        axes.plot(real, height, "v", color="#333333", label=f"real recordings, {report.shipped}")
    axes.set_ylim(0, top)
    axes.set_xlim(0, 1)
    axes.legend(fontsize=9, title="calls, and thresholds of sustained_anger")


def _beside(figure: Figure, report: Report) -> None:
    rows = report.beside
    axes = _axes(figure, "What else reaches how much? (RAVDESS, g711)", "UAR, eight emotions (bar: 95% interval)")
    colors = [
        _ORANGE if "random" in row.name else _BLUE if row.name.startswith("this network") else _GREY for row in rows
    ]
    names = [f"{row.name}\n{row.n_speakers} speakers" for row in rows]
    _dots(axes, names, [row.uar for row in rows], [row.interval for row in rows], colors)
    axes.axvline(1 / 8, color=_GREY, linestyle=":", linewidth=1)
    axes.text(1 / 8 + 0.005, len(rows) - 0.6, "chance", fontsize=8, color=_GREY)
    axes.set_xlim(0, 1)


def _speech(figure: Figure, report: Report) -> None:
    eight = report.conditions["g711"]
    axes = _axes(figure, "Whose speech, and how much of it?", "UAR, eight emotions (bar: 95% interval)")
    names = [*(f"segments of {row.from_s:g} to {row.to_s:g} s" for row in report.lengths), "whole clips"]
    values = [*(row.uar for row in report.lengths), eight.uar]
    intervals = [*(row.interval for row in report.lengths), eight.uar_interval]
    colors = [_BLUE] * len(report.lengths) + [_GREY]
    for sex, result in report.by_sex.items():
        names.append(f"whole clips, {sex} speakers")
        values.append(result.uar)
        intervals.append(result.uar_interval)
        colors.append(_ORANGE)
    _dots(axes, names, values, intervals, colors)
    axes.set_xlim(0, 1)


def _corpora(figure: Figure, report: Report) -> None:
    results = {"ravdess": report.conditions["g711"]}
    if report.emodb is not None:
        results["emodb"] = report.emodb
    results |= report.other_corpora
    axes = _axes(
        figure, "Does it hold elsewhere?", "UAR on the corpus's own emotions (bar: 95% interval; dotted: chance)"
    )
    names = [
        f"{name}, {len(result.labels)} emotions\n"
        + ("its speakers unseen" if name in ("ravdess", "emodb") else "never trained on")
        for name, result in results.items()
    ]
    colors = [_BLUE if name in ("ravdess", "emodb") else _ORANGE for name in results]
    _dots(axes, names, [r.uar for r in results.values()], [r.uar_interval for r in results.values()], colors)
    for row, result in enumerate(results.values()):
        axes.plot([1 / len(result.labels)] * 2, [row - 0.3, row + 0.3], color=_GREY, linestyle=":")
    axes.set_xlim(0, 1)


Picture = tuple[tuple[float, float], Callable[[Figure, Report], Any]]
PICTURES: Final[Mapping[str, Picture]] = MappingProxyType(
    {
        "conditions.png": ((8, 4.6), _conditions),
        "confusion.png": ((6.6, 6), _confusion),
        "anger.png": ((7, 5), _anger),
        "calls.png": ((8, 4.2), _calls),
        "reliability.png": ((6.4, 5.6), _reliability),
        "beside.png": ((8, 4.4), _beside),
        "speech.png": ((8, 3.8), _speech),
        "corpora.png": ((8, 3.8), _corpora),
    }
)
"""Each picture's size in inches and what draws it."""
