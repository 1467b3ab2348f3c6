"""The calendar: which day's calls a DAG run computes. One pure function; knows nothing of Airflow."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo


def call_date_of(wanted: str | None, logical_date: datetime | None, run_after: datetime | None, zone: ZoneInfo) -> date:
    """The call date of a DAG run: the one asked for, else the day before the run's own local date.

    Parameters
    ----------
    wanted
        The run's parameter ``call_date``, YYYY-MM-DD.
    logical_date
        The run's logical date; None for some manual runs.
    run_after
        The earliest time at which the run may run; stands in for a missing logical date.
    zone
        The time zone whose calendar days are the call dates.

    Raises
    ------
    ValueError
        Where ``wanted`` is no date, or there is no time to go by.
    """
    if wanted:
        try:
            return date.fromisoformat(wanted)
        except ValueError:
            raise ValueError(f"call_date is {wanted!r}; expected YYYY-MM-DD") from None
    moment = logical_date or run_after
    if moment is None:
        raise ValueError("the run has no logical date and no run_after; give it a call_date")
    return moment.astimezone(zone).date() - timedelta(days=1)
