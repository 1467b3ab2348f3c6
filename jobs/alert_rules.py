"""The rules that raise alerts: read from one YAML file (``CALLMOOD_ALERT_RULES``), checked to the letter.

Knows what a rule is, and when a figure meets it; nothing of where figures come from, or who is told. docs/alerts.md
describes the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from jobs.errors import SettingsError
from schemas import TABLES
from schemas.alerts import Severity

SPREAD_OF_DEVIATIONS = 1.4826
"""The standard deviation of a normal law by the median of its deviations from its median."""
QUEUE_FIGURES = (
    "negative_share",
    "index_mean",
    "escalated_share",
    "recovered_share",
    "mood_change_mean",
    "coverage",
)
CALLS = TABLES["calls"].schema
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ExpectedPrecision(_Strict):
    """How many of a rule's alerts are right: of one model, as its report or people's judgements say.

    Attributes
    ----------
    share
        0 to 1.
    model
        The model, as ``calls.model_id`` begins.
    source
        Where the figure is from.
    """

    share: float = Field(ge=0, le=1)
    model: str = Field(min_length=1)
    source: str = Field(min_length=1)


class _Rule(_Strict):
    """What all rules have.

    Attributes
    ----------
    says
        What an alert of it means, in words.
    queues
        Those that it is of; without any, of all.
    """

    name: Name
    says: str = Field(min_length=1)
    severity: Severity
    queues: list[str] | None = Field(None, min_length=1)
    expected_precision: ExpectedPrecision | None = None

    def precision(self, model_id: str | None) -> float | None:
        """How many of the alerts are expected to be right for calls that a model heard; None where not measured."""
        known = self.expected_precision
        return known.share if known is not None and model_id is not None and model_id.startswith(known.model) else None


class CallRule(_Rule):
    """A rule on single calls: a figure of ``calls`` is at least, or at most, so much; or a flag is set, or is not.

    A figure that is null meets no rule.
    """

    of: Literal["calls"]
    column: str
    at_least: float | None = None
    at_most: float | None = None
    equals: bool | None = None

    @model_validator(mode="after")
    def _one_limit_that_fits(self) -> Self:
        if self.column not in CALLS.names:
            raise ValueError(f"column is {self.column!r}, which calls does not have (docs/tables.md)")
        kind = CALLS.field(self.column).type
        if not (pa.types.is_boolean(kind) or pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise ValueError(f"column is {self.column}, which is neither a number nor true or false")
        given = [name for name in ("at_least", "at_most", "equals") if getattr(self, name) is not None]
        fitting = ("equals",) if pa.types.is_boolean(kind) else ("at_least", "at_most")
        if len(given) != 1 or given[0] not in fitting:
            raise ValueError(
                f"found {', '.join(given) or 'no limit'}; of column {self.column} expected one of {', '.join(fitting)}"
            )
        return self

    @property
    def threshold(self) -> float:
        """The figure from which on the rule is met: of a flag 1 or 0."""
        (found,) = (each for each in (self.at_least, self.at_most, self.equals) if each is not None)
        return float(found)

    @property
    def condition(self) -> pc.Expression:
        """Of rows of ``calls``: whether they meet the rule."""
        figure = pc.field(self.column)
        if self.equals is not None:
            met = figure == self.equals
        else:
            met = figure >= self.at_least if self.at_least is not None else figure <= self.at_most
        return met if self.queues is None else met & pc.field("queue").isin(self.queues)


@dataclass(frozen=True)
class UsualRange:
    """What is usual of a queue's figure by the days before: their median, and where a day stops being usual."""

    middle: float
    limit: float


class QueueRule(_Rule):
    """A rule on a queue's day: a figure of ``satisfaction_daily`` lies beyond what is usual of the queue.

    Usual is, to either side of the median of the days before, ``widths`` times their spread (the median of their
    deviations from it, as a standard deviation), and at least ``least``.

    Attributes
    ----------
    side
        Beyond which side: above or below.
    days, min_days
        How many days before are looked at, and how many of these must have enough calls.
    min_calls
        The calls with an index that the day needs, and a day before, to count.
    """

    of: Literal["queues"]
    column: str
    side: Literal["above", "below"]
    days: int = Field(28, ge=1, le=366)
    min_days: int = Field(10, ge=3)
    min_calls: int = Field(30, ge=5)
    widths: float = Field(3.5, gt=0)
    least: float = Field(ge=0)

    @model_validator(mode="after")
    def _known_figure(self) -> Self:
        if self.column not in QUEUE_FIGURES:
            raise ValueError(f"column is {self.column!r}; expected one of {', '.join(QUEUE_FIGURES)}")
        if self.min_days > self.days:
            raise ValueError(f"min_days is {self.min_days}, more than days, {self.days}")
        return self

    def usual(self, before: Sequence[float]) -> UsualRange | None:
        """What is usual by the figures of the days before; None where they are too few to say."""
        if len(before) < self.min_days:
            return None
        middle = median(before)
        spread = SPREAD_OF_DEVIATIONS * median(abs(each - middle) for each in before)
        reach = max(self.widths * spread, self.least)
        return UsualRange(middle, middle + reach if self.side == "above" else middle - reach)

    def is_met(self, figure: float, usual: UsualRange) -> bool:
        """Whether the day's figure lies beyond what is usual."""
        return figure > usual.limit if self.side == "above" else figure < usual.limit


Rule = Annotated[CallRule | QueueRule, Field(discriminator="of")]


class _RulesFile(_Strict):
    rules: list[Rule]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)}: more than one rule has this name")
        return self


def load_rules(path: Path) -> Sequence[CallRule | QueueRule]:
    """Read the rules' file.

    Raises
    ------
    SettingsError
        Where there is no such file, or it does not hold rules: one line a mistake.
    """
    where = f"CALLMOOD_ALERT_RULES ({path})"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{where} cannot be read ({error.strerror}); name a YAML file or unset it") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f" at line {mark.line + 1}"
        raise SettingsError(f"{where} is no YAML{line}; see docs/alerts.md") from None
    try:
        return tuple(_RulesFile.model_validate(found).rules)
    except ValidationError as error:
        problems = "\n  ".join(f"{_place(problem['loc'], found)}{_says(problem)}" for problem in error.errors())
        raise SettingsError(f"{where} is wrong (docs/alerts.md):\n  {problems}") from None


def _says(problem: Mapping[str, Any]) -> str:
    """What is wrong; pydantic speaks of tags where a rule does not say what it is of."""
    return "of: expected calls or queues" if problem["type"].startswith("union_tag") else str(problem["msg"])


def _place(steps: tuple[int | str, ...], found: Any) -> str:
    """Name the rule and field of a mistake as the file does: a rule by its name where it has one."""
    if len(steps) < 2:
        return "".join(f"{step}: " for step in steps)
    number = int(steps[1])
    rule = found["rules"][number]
    name = rule.get("name") if isinstance(rule, Mapping) else None
    # The first step within a rule is the kind by which pydantic chose it.
    within = [str(step) for step in steps[3:]]
    return f"rule {name or number + 1}" + "".join(f", {step}" for step in within) + ": "
