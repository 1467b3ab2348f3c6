"""The benchmark's result as a page and a picture, for docs/benchmarks/."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tests.benchmarks.steps import READING

TARGETS: Mapping[str, tuple[str, str, float, bool]] = {
    "whole_call_hours_per_core_hour": ("call hours a core hour, S3 to published Parquet", "at least 2,000", 2000, True),
    "over_bare_loop": ("times the seconds of a bare loop", "at most 1.30", 1.30, False),
    "times_plain_script": ("times as fast as a plain script at 8 kHz", "at least 1.5", 1.5, True),
    "times_plain_script_default_rate": ("times as fast as it at librosa's default rate", "at least 5", 5, True),
    "logmel_times_real_time": ("times real time, log-mel alone", "at least 12,000", 12_000, True),
    "two_core_speedup": ("times as fast on two cores", "at least 1.7", 1.7, True),
    "two_worker_speedup": ("times as fast by two workers of a Spark cluster as by one", "at least 1.7", 1.7, True),
    "worker_peak_mb": ("MB at most in a worker", "under 700", 700, False),
    "night_fixed_s": ("s for a night of one recording, with Airflow", "under 75", 75, False),
}
"""By key of the result: what it says, the aim in words and as a number, and whether more is better."""

WAYS: Mapping[str, str] = {
    "bare_s": "bare loop: this code in one process, no S3, no Spark",
    "fetched_s": "the same, each recording fetched from S3 first",
    "plain_script_s": "plain script: librosa at 8 kHz, the same network a segment at a time, pandas",
    "plain_script_default_rate_s": "the same at librosa's default rate",
    "opensmile_egemaps_s": "openSMILE eGeMAPS functionals of both channels, nothing else",
}
"""By key of the result, in seconds a call hour."""


def write_page(result: Mapping[str, Any], folder: Path) -> None:
    """Write README.md and stages.svg."""
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - Markdown
    environment.filters["figure"] = _figure
    template = environment.from_string((Path(__file__).parent / "page.md.j2").read_text(encoding="utf-8"))
    aims = [
        {
            "words": words,
            "aim": aim,
            "measured": result[name],
            "met": result[name] >= bound if more else result[name] <= bound,
        }
        for name, (words, aim, bound, more) in TARGETS.items()
    ]
    fetched = {**result, "fetched_s": result["bare_s"] + result["get_s"]}
    ways = [(words, fetched[name]) for name, words in WAYS.items()]
    nights = [_night(night, 1) for night in result["nights_on_one_core"]] + [_night(result["night_on_two_cores"], 2)]
    by_workers = [sum(night["seconds"].values()) for night in result["reading_by_workers"]]
    page = template.render(result, aims=aims, ways=ways, nights=nights, by_workers=by_workers)
    (folder / "README.md").write_text(page, encoding="utf-8")
    _draw(result, folder / "stages.svg")


def _night(night: Mapping[str, Any], cores: int) -> Mapping[str, Any]:
    """A row: processor seconds of the steps that read, of the others, and of all; and seconds on the wall."""
    used = night["processor_s"]
    parts, total_s = [used[step] for step in READING], sum(used.values())
    wall_s = sum(night["seconds"].values())
    return {**night, "cores": cores, "parts": [*parts, total_s - sum(parts), total_s], "wall_s": wall_s}


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 50 else f"{value:.2f}"


def _draw(result: Mapping[str, Any], path: Path) -> None:
    """Bars of seconds a call hour: the bare loop's stages in a row, the night and the plain script."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "callmood"
    figure, axes = plt.subplots(figsize=(8, 2.6), layout="constrained")
    whole_s = 3600 / result["whole_call_hours_per_core_hour"]
    bars = [("plain script, 8 kHz", result["plain_script_s"]), ("night, S3 to Parquet", whole_s)]
    for place, (_, seconds) in enumerate(bars):
        axes.barh(place, seconds, color="#9aa0a6", height=0.6)
        axes.text(seconds, place, f" {seconds:.2f} s", va="center")
    left = 0.0
    colors = ("#0072b2", "#56b4e9", "#009e73", "#f0e442", "#e69f00", "#d55e00", "#cc79a7", "#c4c0b6")
    for color, (name, seconds) in zip(colors, result["stages_s"].items(), strict=True):
        axes.barh(len(bars), seconds, left=left, color=color, label=name, height=0.6)
        left += seconds
    axes.text(left, len(bars), f" {left:.2f} s", va="center")
    axes.set_yticks(range(len(bars) + 1), [*(name for name, _ in bars), "bare loop"])
    axes.set_xlabel("seconds a call hour, one core")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
