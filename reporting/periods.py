"""What figures are of: a day, a week, a month or any other days. Knows the calendar only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class Period:
    """Call dates from the first to the last, both included.

    Attributes
    ----------
    kind
        day, week (Monday to Sunday, ISO 8601), month; or days, of any others.
    """

    kind: str
    first: date
    last: date

    @classmethod
    def day(cls, day: date) -> Period:
        """One day."""
        return cls("day", day, day)

    @classmethod
    def week(cls, day: date) -> Period:
        """The week that a day is in."""
        monday = day - timedelta(days=day.weekday())
        return cls("week", monday, monday + timedelta(days=6))

    @classmethod
    def month(cls, day: date) -> Period:
        """The month that a day is in."""
        first = day.replace(day=1)
        return cls("month", first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))

    @classmethod
    def parse(cls, kind: str, text: str) -> Period:
        """Read a week as ISO 8601 writes it, 2026-W47, or a month, 2026-11.

        Raises
        ------
        ValueError
            Where it is none.
        """
        pattern, form = {
            "week": (r"(20\d\d)-W(\d\d)", "YYYY-Www, such as 2026-W47"),
            "month": (r"(20\d\d)-(\d\d)", "YYYY-MM, such as 2026-11"),
        }[kind]
        found = re.fullmatch(pattern, text)
        try:
            if found is None:
                raise ValueError
            year, number = int(found[1]), int(found[2])
            day = date.fromisocalendar(year, number, 1) if kind == "week" else date(year, number, 1)
        except ValueError:
            raise ValueError(f"{text!r} is no {kind}; expected {form}") from None
        return cls.week(day) if kind == "week" else cls.month(day)

    @property
    def days(self) -> tuple[date, ...]:
        """Its days, in order."""
        return tuple(self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1))

    def before(self, days: int) -> tuple[date, ...]:
        """The days before it, as many as are asked for, in order."""
        return tuple(self.first - timedelta(days=number) for number in range(days, 0, -1))

    @property
    def name(self) -> str:
        """As a title has it."""
        if self.kind == "month":
            return f"{self.first:%B %Y}"
        day = f"{self.last:%-d %B %Y}"
        if self.kind == "day":
            return day
        first = f"{self.first:%-d}" if self.first.month == self.last.month else f"{self.first:%-d %B}"
        return f"week {self.first:%V}, {first} to {day}" if self.kind == "week" else f"{first} to {day}"

    @property
    def heading(self) -> str:
        """As a sentence ends with it."""
        return f"on {self.first:%A}, {self.name}" if self.kind == "day" else f"in {self.name}"
