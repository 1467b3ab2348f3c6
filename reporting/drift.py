"""Drift: how unlike the days before a day's data are, by the population stability index.

A day is counted once, from its published tables, into a `Profile`: of each quantity, how many calls fall into each
category. Profiles add up, so that a day or a period is compared with the days before it. The call is the unit, not the
segment: segments of a call are alike, and would make every day look different.
Knows nothing of pages, and not why something moved: another mix of queues moves everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reporting import words
from reporting.measures import FEWEST_DAYS
from reporting.periods import Period

if TYPE_CHECKING:
    import pyarrow.dataset as pads

QUANTITIES: Final = ("emotions", "confidence", "levels", "codecs", "coverage")
OF_THE_MODEL: Final = frozenset({"emotions", "confidence"})
"""Quantities that another model changes: compared with days of the same model only."""

NOTABLE: Final = 0.1
MUCH: Final = 0.25
"""The customary readings of the index (Siddiqi, Credit Risk Scorecards, 2006): under 0.1 the same, from 0.25 on not."""
CHANCE: Final = 0.99
"""How often the index of a day on which nothing changed stays below what is called chance."""

PROFILED_SEGMENTS: Final = 50_000
"""Of a day's segments about so many are looked at to tell how unlike other days it is: a thousand calls and more."""
SEGMENT_COLUMNS = ("contact_id", "role", "emotion", "confidence", "loudness_dbfs")
_CONFIDENCE_STEP = 0.1
_LEVEL_STEP_DB = 6
_HALF = 0.5
"""Added to every category's count, so that one that is new, or gone, has an index (Jeffreys)."""
_NAMED = 3


@dataclass(frozen=True)
class Profile:
    """What a day's data look like.

    Attributes
    ----------
    model_id
        What the day was classified by.
    counts
        Of each of `QUANTITIES`, the calls of each category. A call counts once in each: as many emotions as its
        segments have share it.
    """

    model_id: str
    counts: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Move:
    """A category's share of the calls, and its share on the days before; 0 to 1."""

    category: str
    share: float
    usual: float


@dataclass(frozen=True)
class Shift:
    """How unlike the days before a quantity is.

    Attributes
    ----------
    psi
        The population stability index: 0 where nothing differs.
    by_chance
        What it stays below in 99% of the cases where nothing changed, with so many calls.
    calls, days
        The calls that are compared, and the days before with which they are.
    moved
        The categories, those that add most to the index first.
    """

    quantity: str
    psi: float
    by_chance: float
    calls: int
    days: int
    moved: tuple[Move, ...]

    @property
    def verdict(self) -> str:
        """much, some, usual; or few, where there are too few calls to tell any shift from chance."""
        if self.by_chance >= MUCH:
            return "few"
        if self.psi <= self.by_chance or self.psi < NOTABLE:
            return "usual"
        return "much" if self.psi >= MUCH else "some"

    @property
    def in_words(self) -> str:
        """What moved most: angry 20% of the calls, usually 12%."""
        return "; ".join(
            f"{each.category} {words.percent(each.share)}, usually {words.percent(each.usual)}"
            for each in self.moved[:2]
        )


@dataclass(frozen=True)
class ModelChange:
    """From a day on another model classified the calls."""

    day: date
    before: str
    after: str


@dataclass(frozen=True)
class Drift:
    """How unlike the days before a day or period is.

    Attributes
    ----------
    days
        The published days before it.
    shifts
        Of the quantities that can be compared, the largest index first.
    not_compared
        The quantities that cannot: fewer than `reporting.measures.FEWEST_DAYS` days before have them by the same model.
    changes
        The changes of the model, in the days before and since.
    """

    days: int
    shifts: tuple[Shift, ...]
    not_compared: tuple[str, ...]
    changes: tuple[ModelChange, ...]

    @property
    def sentences(self) -> Sequence[str]:
        """Say it in plain words, the worst first."""
        said = [
            f"From {each.day:%-d %B} on the model was {each.after}, before it {each.before}: emotions and confidence "
            "are compared with days of the same model only."
            for each in self.changes[-1:]
        ]
        if not self.shifts:
            return [*said, f"What is usual of the data is said once {FEWEST_DAYS} days before are published."]
        before = f"the {words.count(max(each.days for each in self.shifts), 'day')} before"
        for verdict, says in (("much", "much unlike"), ("some", "somewhat unlike")):
            moved = [each for each in self.shifts if each.verdict == verdict]
            if moved:
                listed = [f"{each.quantity} (PSI {each.psi:.2f}: {each.in_words})" for each in moved[:_NAMED]]
                listed += [each.quantity for each in moved[_NAMED:]]
                said.append(f"{_sentence(listed)} {_are([each.quantity for each in moved])} {says} {before}.")
        usual = [each.quantity for each in self.shifts if each.verdict == "usual"]
        if usual:
            said.append(f"{_sentence(usual)} {_are(usual)} as on {before}.")
        few = [each.quantity for each in self.shifts if each.verdict == "few"]
        if few:
            said.append(f"Of {words.listing(few)} there are too few calls to tell a shift from chance.")
        if self.not_compared:
            said.append(f"{_sentence(self.not_compared)} cannot be compared yet: fewer than {FEWEST_DAYS} days before.")
        return said


class Published(Protocol):
    """What profiles are read from: one view of the warehouse (`jobs.warehouse.Snapshot`)."""

    @property
    def files(self) -> Mapping[str, Mapping[date, Sequence[Any]]]:
        """Of each table and day its files, which say how many ``rows`` they hold."""

    def dataset(self, table: str, call_date: date | None = None) -> pads.Dataset:
        """A day of a table."""

    def last_run(self, call_date: date) -> Mapping[str, Any]:
        """The day's last row of runs."""


def day_profiles(view: Published, days: Iterable[date]) -> Mapping[date, Profile]:
    """Count the days, of those that are published; of a large day's segments a part is read.

    Raises
    ------
    FileNotFoundError
        Where a day was replaced since the view was taken.
    """
    return {day: _day_profile(view, day) for day in days if view.files["runs"].get(day)}


def _day_profile(view: Published, day: date) -> Profile:
    segments = view.dataset("emotion_log", day)
    rows = sum(file.rows for file in view.files["emotion_log"].get(day, ()))
    # Whole files, spread evenly over the day's: each holds whole calls.
    chosen = list(segments.get_fragments())[:: 1 + rows // PROFILED_SEGMENTS]
    read = [part.to_table(schema=segments.schema, columns=list(SEGMENT_COLUMNS)) for part in chosen]
    return profile(
        str(view.last_run(day)["model_id"]),
        pa.concat_tables(read) if read else segments.schema.empty_table().select(SEGMENT_COLUMNS),
        view.dataset("recordings", day).to_table(columns=["codec", "channel_kind"]),
        view.dataset("satisfaction_daily", day).to_table(),
    )


def drift_of(view: Published, period: Period, days_before: int) -> Drift:
    """Compare a day or a period of the published tables with the days before it; see `day_profiles` and `drift`."""
    return drift(day_profiles(view, (*period.before(days_before), *period.days)), period, days_before)


def profile(model_id: str, segments: pa.Table, recordings: pa.Table, daily: pa.Table) -> Profile:
    """Count a day.

    Parameters
    ----------
    model_id
        What it was classified by.
    segments
        `SEGMENT_COLUMNS` of emotion_log, of all calls of the day or of some; whole calls.
    recordings
        Columns codec and channel_kind of all recordings of the day.
    daily
        The day's rows of satisfaction_daily.
    """
    heard = segments.filter(pc.is_valid(pc.field("emotion")) & (pc.field("role") != "agent"))
    total = daily.filter(pc.field("scope") == "total").to_pylist()
    expected, scored = (sum(row[name] for row in total) for name in ("contacts_expected", "calls_scored"))
    decoded = recordings.filter(pc.is_valid(pc.field("codec")))
    codecs = zip(decoded["codec"].to_pylist(), decoded["channel_kind"].to_pylist(), strict=True)
    counts: dict[str, Mapping[str, float]] = {
        "codecs": Counter(f"{codec}, {kind.replace('_', ' ')}" for codec, kind in codecs),
        "coverage": {"scored": scored, "not scored": max(0, expected - scored)},
    }
    return Profile(model_id, {**counts, **_of_segments(heard)})


def drift(profiles: Mapping[date, Profile], period: Period, days_before: int) -> Drift:
    """Compare a day or a period with the days before it.

    Parameters
    ----------
    profiles
        Of the published days.
    days_before
        How many days before the period count as before.
    """
    own = {day: profiles[day] for day in period.days if day in profiles}
    before = {day: profiles[day] for day in period.before(days_before) if day in profiles}
    shifts, not_compared = [], []
    for quantity in QUANTITIES if own else ():
        compared, usual = ([*days.values()] for days in (own, before))
        if quantity in OF_THE_MODEL:
            last = compared[-1].model_id
            compared, usual = ([each for each in days if each.model_id == last] for days in (compared, usual))
        usual = [each for each in usual if sum(each.counts[quantity].values())]
        counts = _added(compared, quantity)
        if len(usual) < FEWEST_DAYS or not sum(counts.values()):
            not_compared.append(quantity)
        else:
            shifts.append(shift(quantity, counts, _added(usual, quantity), len(usual)))
    shifts.sort(key=lambda each: -round(each.psi, 2))
    changes = model_changes({day: each.model_id for day, each in {**before, **own}.items()})
    return Drift(len(before), tuple(shifts), tuple(not_compared) if before else (), changes)


def shift(quantity: str, counts: Mapping[str, float], usual: Mapping[str, float], days: int) -> Shift:
    """Compare calls by category with those of the days before.

    The index is sum (p - q) ln(p / q) over the categories. Where nothing changed, it is distributed like
    (1 / n + 1 / m) chi2 with one degree of freedom less than there are categories, n and m calls (Yurdakul and Naranjo,
    Journal of Risk Model Validation 14, 2020); for emotions, which the segments of a call share, it is less.
    """
    from scipy.special import chdtri  # not scipy.stats, which takes most of a second to import

    categories = sorted(counts.keys() | usual.keys())
    here, there = (np.array([side.get(each, 0.0) for each in categories]) for side in (counts, usual))
    n, m = here.sum(), there.sum()
    p, q = ((side + _HALF) / (side.sum() + _HALF * len(categories)) for side in (here, there))
    parts = (p - q) * np.log(p / q)
    by_chance = 0.0 if len(categories) == 1 else float(chdtri(len(categories) - 1, 1 - CHANCE) * (1 / n + 1 / m))
    order = sorted(range(len(categories)), key=lambda place: (-parts[place], categories[place]))
    moved = tuple(Move(categories[each], float(here[each] / n), float(there[each] / m)) for each in order)
    return Shift(quantity, float(parts.sum()), by_chance, round(n), days, moved)


def model_changes(models: Mapping[date, str]) -> tuple[ModelChange, ...]:
    """Find the days from which on another model classified the calls, in order."""
    pairs = pairwise(sorted(models))
    return tuple(ModelChange(day, models[a], models[day]) for a, day in pairs if models[a] != models[day])


def _of_segments(heard: pa.Table) -> dict[str, Mapping[str, float]]:
    """Emotions, confidence and levels of the calls that have classified segments."""
    calls = heard.group_by("contact_id", use_threads=False).aggregate(
        [([], "count_all"), ("confidence", "mean"), ("loudness_dbfs", "mean")]
    )
    place = pc.index_in(heard["contact_id"], calls["contact_id"].combine_chunks())
    part_of_call = pc.divide(1.0, pc.cast(calls["count_all"].take(place), pa.float64()))
    emotions = pa.table({"emotion": heard["emotion"], "part": part_of_call}).group_by("emotion", use_threads=False)
    confidence = Counter(
        _step(value, _CONFIDENCE_STEP, ".1f") for value in calls["confidence_mean"].drop_null().to_pylist()
    )
    levels = Counter(
        f"{_step(value, _LEVEL_STEP_DB, '.0f')} dBFS" for value in calls["loudness_dbfs_mean"].drop_null().to_pylist()
    )
    shared = emotions.aggregate([("part", "sum")])
    return {
        "emotions": dict(zip(shared["emotion"].to_pylist(), shared["part_sum"].to_pylist(), strict=True)),
        "confidence": confidence,
        "levels": levels,
    }


def _step(value: float, step: float, form: str) -> str:
    low = np.floor(value / step) * step
    return f"{low:{form}} to {low + step:{form}}".replace("-", words.MINUS)


def _added(profiles: Iterable[Profile], quantity: str) -> Mapping[str, float]:
    total: Counter[str] = Counter()
    for each in profiles:
        total.update(each.counts[quantity])
    return total


def _sentence(parts: Sequence[str]) -> str:
    listed = words.listing(list(parts))
    return listed[:1].upper() + listed[1:]


def _are(quantities: Sequence[str]) -> str:
    return "are" if len(quantities) > 1 or quantities[0] in ("emotions", "levels", "codecs") else "is"
