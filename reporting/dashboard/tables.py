"""What the dashboard asks the published tables, in DuckDB: figures of a period, and single calls.

Aggregates of fewer than `MIN_GROUP` calls are not shown, nor what they could be subtracted from. Knows nothing of
pages; every answer is a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from reporting.measures import FEWEST_CALLS, Mean, too_few
from reporting.sql import Session
from schemas.definitions import REVIEW_REASONS

MIN_GROUP = FEWEST_CALLS
"""A figure of fewer calls than this is about persons, and is not shown."""
MAX_CALLS = 200
NONE = "(none)"
"""What a filter calls calls without a queue or team."""
FIGURES = ("index_mean", "index_low", "index_high", "negative_share", "escalated_share", "recovered_share")


@dataclass(frozen=True)
class Filter:
    """Which calls are looked at: from one day to another, both included; of some queues and teams, or of all."""

    first: date
    last: date
    queues: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()

    def where(self, table: str) -> tuple[str, list[Any]]:
        """The condition of SQL on a table with call_date, queue and team, and its parameters."""
        terms, values = [f"{table}.call_date between ? and ?"], [self.first, self.last]
        for name, chosen in (("queue", self.queues), ("team", self.teams)):
            if chosen:
                terms.append(f"list_contains(?, coalesce({table}.{name}, '{NONE}'))")
                values.append(list(chosen))  # type: ignore[arg-type]
        return " and ".join(terms), values


class Tables(Session):
    """The published tables, as they were at the last refresh, for the threads of a server."""

    _lock = Lock()

    def rows(self, query: str, parameters: Sequence[object] = ()) -> pd.DataFrame:
        """Ask for rows; once more on the new tables, where a day was replaced meanwhile.

        Raises
        ------
        duckdb.Error
            Where the query fails.
        """
        import duckdb

        with self._lock:
            try:
                return self._duckdb.execute(query, list(parameters)).df()
            except duckdb.Error:
                if not self.refresh():
                    raise
                return self._duckdb.execute(query, list(parameters)).df()

    def refreshed(self) -> bool:
        """Take the tables as they are now; whether anything had changed."""
        with self._lock:
            return self.refresh()

    def queue_rows(self, query: str, parameters: Sequence[object], judged: pa.Table) -> pd.DataFrame:
        """Ask with a table ``judged`` of contact_id, role and start_s beside the published ones."""
        with self._lock:
            self._duckdb.register("judged", judged)
            try:
                return self._duckdb.execute(query, list(parameters)).df()
            finally:
                self._duckdb.unregister("judged")

    # What there is to choose from

    def days(self) -> list[date]:
        """The published days, in order."""
        return [] if self._snapshot is None else self._snapshot.call_dates

    def values(self, name: str, first: date, last: date) -> list[str]:
        """The queues or teams of a period."""
        found = self.rows(
            f"select distinct coalesce({name}, '{NONE}') as value from satisfaction_daily "  # noqa: S608 - a column
            "where call_date between ? and ? and scope = ? order by value",
            [first, last, name],
        )
        return list(found["value"])

    # A period

    def over_days(self, chosen: Filter) -> pd.DataFrame:
        """A row a day with its figures; see `_figures`."""
        return self._figures("calls.call_date", "calls", chosen)

    def by(self, name: str, chosen: Filter) -> pd.DataFrame:
        """A row a queue or team with its figures, the lowest index first; see `_figures`."""
        found = self._figures(f"coalesce(calls.{name}, '{NONE}')", "calls", chosen)
        return found.sort_values("index_mean", na_position="last", ignore_index=True)

    def by_hour(self, chosen: Filter) -> pd.DataFrame:
        """A row a local hour of the call's start, as the contact record has it, with its figures; see `_figures`."""
        return self._figures("contacts.local_hour", "calls join contacts using (call_date, contact_id)", chosen)

    def total(self, chosen: Filter) -> pd.Series[Any]:
        """The figures of the whole period; calls is 0 where there are none."""
        found = self._figures("0", "calls", chosen)
        return found.iloc[0] if len(found) else pd.Series({"calls": 0, **dict.fromkeys(FIGURES)})

    def _figures(self, key: str, source: str, chosen: Filter) -> pd.DataFrame:
        """Figures by a key: key, calls, index_mean with its interval (Student's t over calls), and shares.

        What may not be shown is NaN, in `suppressed` groups.
        """
        where, values = chosen.where("calls")
        found = self.rows(
            f"select {key} as key, count(*) as calls, count(satisfaction_index) as indexed, "  # noqa: S608 - our columns
            "coalesce(sum(satisfaction_index), 0) as total, coalesce(sum(satisfaction_index ** 2), 0) as squares, "
            "avg(negative_share) as negative_share, avg(escalated::int) as escalated_share, "
            f"avg(recovered::int) as recovered_share from {source} where {where} and key is not null "
            "group by 1 order by 1",
            values,
        )
        sums = zip(found["indexed"], found["total"], found["squares"], strict=True)
        means = [Mean.of_sums(int(calls), total, squares) for calls, total, squares in sums]
        bounds = [(mean.mean, mean.low, mean.high) for mean in means]
        found[["index_mean", "index_low", "index_high"]] = np.array(bounds, dtype=float).reshape(-1, 3)
        found.loc[suppressed(found["calls"].to_numpy()), list(FIGURES)] = np.nan
        return found[["key", "calls", *FIGURES]]

    # Coverage and quality

    def coverage(self, chosen: Filter) -> pd.DataFrame:
        """A row a day: contacts expected and calls scored, of all queues."""
        return self.rows(
            "select call_date, contacts_expected, calls_scored, coverage from satisfaction_daily "
            "where scope = 'total' and call_date between ? and ? order by 1",
            [chosen.first, chosen.last],
        )

    def coverage_by_queue(self, chosen: Filter) -> pd.DataFrame:
        """A row a queue: contacts expected and calls scored in the period, the worst coverage first."""
        return self.rows(
            f"select coalesce(queue, '{NONE}') as queue, sum(contacts_expected)::bigint as expected, "  # noqa: S608 - our columns
            "sum(calls_scored)::bigint as scored, sum(calls_scored) / nullif(sum(contacts_expected), 0) as coverage "
            "from satisfaction_daily where scope = 'queue' and call_date between ? and ? group by 1 order by 4, 1",
            [chosen.first, chosen.last],
        )

    def not_scored(self, chosen: Filter) -> pd.DataFrame:
        """A row an outcome and reason of recordings that were not scored."""
        return self.rows(
            "select status, reason_code, count(*) as recordings from recordings "
            "where status <> 'scored' and call_date between ? and ? group by 1, 2 order by 3 desc, 1, 2",
            [chosen.first, chosen.last],
        )

    def codecs(self, chosen: Filter) -> pd.DataFrame:
        """A row a codec and kind of channels of the recordings that were decoded."""
        return self.rows(
            "select codec, channel_kind, count(*) as recordings from recordings "
            "where codec is not null and call_date between ? and ? group by 1, 2 order by 3 desc",
            [chosen.first, chosen.last],
        )

    def publications(self, chosen: Filter) -> pd.DataFrame:
        """A row a day: its last publication."""
        return self.rows(
            "select call_date, status, status_detail, model_id, planned, scored, quarantined, skipped, published_at "
            "from runs where call_date between ? and ? "
            "qualify row_number() over (partition by call_date order by published_at desc, run_id desc) = 1 order by 1",
            [chosen.first, chosen.last],
        )

    # Calls

    def calls(self, chosen: Filter) -> pd.DataFrame:
        """The calls most worth hearing: by the most pressing reason, how many there are, then the lowest index."""
        where, values = chosen.where("calls")
        order = " ".join(f"when '{code}' then {rank}" for rank, code in enumerate(REVIEW_REASONS))
        return self.rows(
            "select call_date, contact_id, source_uri, started_at, queue, team, duration_s, satisfaction_index, "  # noqa: S608 - our columns
            "satisfaction_low, satisfaction_high, negative_share, anger_peak, mood_change, longest_silence_s, "
            f"review_reasons, model_id from calls where {where} order by "
            f"case review_reasons[1] {order} else {len(REVIEW_REASONS)} end, len(review_reasons) desc, "
            "satisfaction_index nulls last, contact_id limit ?",
            [*values, MAX_CALLS],
        )

    def segments(self, call_date: date, contact_id: str) -> pd.DataFrame:
        """The segments of a call, in order of start, with all that the log says of them."""
        return self.rows(
            "select * exclude (call_date, contact_id, run_id) from emotion_log "
            "where call_date = ? and contact_id = ? order by start_s, role",
            [call_date, contact_id],
        )

    def addresses(self, call_date: date, contact_id: str) -> list[str]:
        """The addresses of a call's recording: one, or two that are a side each."""
        found = self.rows(
            "select source_uri, partner_uri from recordings "
            "where call_date = ? and contact_id = ? and status = 'scored' limit 1",
            [call_date, contact_id],
        )
        return [str(each) for each in found.to_numpy().ravel() if isinstance(each, str)]

    def customer(self, call_date: date, contact_id: str) -> str | None:
        """The key of the customer of a contact, where it is known."""
        found = self.rows(
            "select customer_key from contacts where call_date = ? and contact_id = ?", [call_date, contact_id]
        )
        keys = found["customer_key"].dropna()
        return str(keys.iloc[0]) if len(keys) else None


def suppressed(calls: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which groups' figures are not shown: those that may not be (`reporting.measures.too_few`), and of no call.

    Parameters
    ----------
    calls
        How many calls each group has, ``[shape=(groups,)]``; all groups of a total.
    """
    few = too_few(dict(enumerate(calls.tolist())))
    return np.array([not number or place in few for place, number in enumerate(calls)], dtype=bool)
