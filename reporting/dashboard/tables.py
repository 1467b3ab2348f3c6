"""What the dashboard asks the published tables, in DuckDB: figures of a period, and single calls.

Aggregates of fewer than `MIN_GROUP` calls are not shown, nor what they could be subtracted from. Knows nothing of
pages; every answer is a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from reporting.aggregates import ClassifierError
from reporting.course import ALL_CALLS, DAYS_BEFORE, PATH
from reporting.drift import Drift, ModelChange, Profile, day_profiles, drift, model_changes
from reporting.measures import FEWEST_CALLS, CustomerSums, Mean, too_few
from reporting.periods import Period
from reporting.sql import Session
from reporting.topics import TOPIC_COLUMNS, Topics, TopicTime, topics
from reporting.win_back import win_back
from schemas.definitions import REVIEW_REASONS

if TYPE_CHECKING:
    from jobs.storage import Storage

MIN_GROUP = FEWEST_CALLS
"""A figure of fewer calls than this is about persons, and is not shown."""
MAX_CALLS = 200
NONE = "(none)"
"""What a filter calls calls without a queue or team."""
_KEYS: Final[Mapping[str, str]] = {
    "total": "''",
    "day": "call_date",
    "queue": "queue",
    "team": "team",
    "hour": "local_hour",
}
_CUSTOMER_SUMS = ("indexed", "total", "customers", "n_squares", "total_squares", "products")
_INDEX = ("index_mean", "index_low", "index_high", "level_low", "level_high")
FIGURES = (*_INDEX, "negative_share", "escalated_share", "recovered_share")


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


@dataclass(frozen=True)
class PeriodFigures:
    """Figures of a period: a row in all (calls is 0 where there are none), and frames with a row a group.

    By day and hour they are in order of time, by queue and team the lowest index first.
    """

    total: pd.Series[Any]
    by_day: pd.DataFrame
    by_queue: pd.DataFrame
    by_team: pd.DataFrame
    by_hour: pd.DataFrame


class Tables(Session):
    """The published tables, as they were at the last refresh, for the threads of a server."""

    def __init__(self, storage: Storage) -> None:
        self._lock = Lock()
        self._profiles: dict[tuple[date, tuple[str, ...]], Profile] = {}
        super().__init__(storage)

    def rows(self, query: str, parameters: Sequence[object] = ()) -> pd.DataFrame:
        """Ask for rows; once more on the new tables, where a day was replaced meanwhile.

        Raises
        ------
        duckdb.Error
            Where the query fails.
        """
        frame: pd.DataFrame = self._asked(lambda: self._duckdb.execute(query, list(parameters)).df())
        return frame

    def arrow(self, query: str, parameters: Sequence[object] = ()) -> pa.Table:
        """Ask for rows as an Arrow table; as `rows`."""
        return self._asked(lambda: self._duckdb.sql(query, params=list(parameters)).to_arrow_table())

    def _asked(self, ask: Callable[[], Any]) -> Any:
        import duckdb

        with self._lock:
            try:
                return ask()
            except duckdb.Error:
                if not self.refresh():
                    raise
                return ask()

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

    def period(self, chosen: Filter, error: ClassifierError | None = None) -> PeriodFigures:
        """The figures of a period: in all, and by day, queue, team and local hour of the call's start.

        Of each group: key, calls, index_mean with its intervals (`Mean.of_customers`, as ``make figures`` has them) and
        shares. What may not be shown is NaN, in `suppressed` groups.

        Parameters
        ----------
        error
            What is known of the error of the classifier; it is in the intervals of levels if it heard all the days.
        """
        found: pd.DataFrame = self._asked(lambda: self._period_rows(chosen))
        sums = zip(*(found[name] for name in _CUSTOMER_SUMS), strict=True)
        points = None if error is None else error.points_of(self.publications(chosen)["model_id"])
        means = [Mean.of_customers(CustomerSums(*each), points) for each in sums]
        bounds = [(mean.mean, mean.low, mean.high, mean.level_low, mean.level_high) for mean in means]
        found[list(_INDEX)] = np.array(bounds, dtype=float).reshape(-1, len(_INDEX))
        by = {scope: found[found["scope"] == scope].reset_index(drop=True) for scope in _KEYS}
        for figures in by.values():
            figures.loc[suppressed(figures["indexed"].to_numpy()), list(FIGURES)] = np.nan
        shown = {scope: figures[["key", "calls", *FIGURES]] for scope, figures in by.items()}
        shown["day"] = shown["day"].assign(key=pd.to_datetime(shown["day"]["key"]))
        shown["hour"] = shown["hour"].assign(key=shown["hour"]["key"].astype(int)).sort_values("key", ignore_index=True)
        for scope in ("queue", "team"):
            shown[scope] = shown[scope].sort_values("index_mean", na_position="last", ignore_index=True)
        nothing = pd.Series({"calls": 0, **dict.fromkeys(FIGURES)})
        total = shown["total"].iloc[0] if len(shown["total"]) else nothing
        return PeriodFigures(total, shown["day"], shown["queue"], shown["team"], shown["hour"])

    def _period_rows(self, chosen: Filter) -> pd.DataFrame:
        # A table takes a fifth less time than the same as a part of one query.
        where, values = chosen.where("calls")
        self._duckdb.execute(_period_of(where), [chosen.first, chosen.last, *values])
        try:
            return self._duckdb.execute(_figures_of_period()).df()
        finally:
            self._duckdb.execute("drop table period")

    def mood_paths(self, chosen: Filter) -> pd.DataFrame:
        """The mood through a call, as `reporting.course.mood_paths` has it: a row a queue and point of `PATH`.

        Columns: queue, `ALL_CALLS` for all together; point, as it is called; mood, -1 to 1, NaN where it is not shown.
        """
        where, values = chosen.where("calls")
        points = ", ".join(f"count({each}) as n_{each}, sum({each}) as {each}" for each in PATH)
        query = f"select coalesce(queue, '{NONE}') as queue, {points} from calls where {where} group by 1 order by 1"  # noqa: S608 - our columns
        found = self.rows(query, values).set_index("queue")
        paths = []
        for point, name in PATH.items():
            calls, total = found[f"n_{point}"], found[point]
            means = (total / calls).mask(suppressed(calls.to_numpy()))
            whole = total.sum() / calls.sum() if calls.sum() >= MIN_GROUP else np.nan
            means = pd.concat([pd.Series({ALL_CALLS: whole}), means])
            paths.append(pd.DataFrame({"queue": means.index, "point": name, "mood": means.to_numpy()}))
        return pd.concat(paths, ignore_index=True)

    def topics(self, chosen: Filter) -> Topics:
        """Which subjects bring up which emotions; `reporting.topics.topics` of the calls chosen."""
        where, values = Filter(chosen.first, chosen.last).where("topic_emotions")
        query = f"select {', '.join(TOPIC_COLUMNS)} from topic_emotions where {where}"  # noqa: S608 - our columns
        if chosen.queues or chosen.teams:
            of, more = chosen.where("calls")
            query += f" and (call_date, contact_id) in (select (call_date, contact_id) from calls where {of})"  # noqa: S608
            values += more
        return topics(self.arrow(query, values))

    def win_back(self, chosen: Filter) -> pd.DataFrame:
        """The customers to win back who called last on the last of the days; `reporting.win_back.win_back`.

        By the calls of the 28 days up to it; of the queues chosen, if any. The lowest index first.
        """
        first = chosen.last - timedelta(days=DAYS_BEFORE - 1)
        found: pd.DataFrame = self._asked(
            lambda: win_back(self.tables, first, chosen.last, called_from=chosen.last).to_pandas()
        )
        found["queue"] = found["queue"].fillna(NONE)
        of_queues = found[found["queue"].isin(chosen.queues)] if chosen.queues else found
        return of_queues.sort_values(["index", "contact_id"], ignore_index=True)

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

    def drift(self, chosen: Filter) -> Drift:
        """How unlike the four weeks before the data of the days are, of all queues and teams; `reporting.drift.drift`.

        Raises
        ------
        FileNotFoundError
            Where days are replaced again and again.
        """
        period = Period("days", chosen.first, chosen.last)
        days = (*period.before(DAYS_BEFORE), *period.days)
        try:
            profiles = self._profiles_of(days)
        except FileNotFoundError:  # a day was replaced meanwhile
            self.refreshed()
            profiles = self._profiles_of(days)
        return drift(profiles, period, DAYS_BEFORE)

    def _profiles_of(self, days: Sequence[date]) -> Mapping[date, Profile]:
        """Those of published days; each publication of a day is counted once."""
        snapshot = self._snapshot
        if snapshot is None:
            return {}
        found = {}
        for day in days:
            runs = snapshot.run_ids(day)
            if not runs:
                continue  # it is not published
            if (day, runs) not in self._profiles:
                self._profiles[day, runs] = day_profiles(snapshot, [day])[day]
            found[day] = self._profiles[day, runs]
        return found

    def model_changes(self, chosen: Filter) -> tuple[ModelChange, ...]:
        """The days of the period from which on another model classified the calls."""
        found = self.publications(chosen)
        return model_changes(dict(zip(found["call_date"].dt.date, found["model_id"], strict=True)))

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

    def call_topics(self, call_date: date, contact_id: str) -> tuple[TopicTime, ...]:
        """What a call was about from when to when, in order."""
        found = self.rows(
            "select topic, start_s, end_s from topics where call_date = ? and contact_id = ? order by start_s, topic",
            [call_date, contact_id],
        )
        return tuple(TopicTime(*each) for each in found.itertuples(index=False, name=None))

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


def _period_of(where: str) -> str:
    """Take what figures need of the calls chosen."""
    # Of a customer's key its hash: summing by 64 bits takes a fraction of the time that summing by the text takes.
    return f"""
    create or replace temp table period as
    select calls.call_date, coalesce(calls.queue, '{NONE}') as queue, coalesce(calls.team, '{NONE}') as team,
        contacts.local_hour, hash(coalesce(contacts.customer_key, calls.contact_id)) as customer,
        calls.satisfaction_index::double as index, calls.negative_share, calls.escalated::int as escalated,
        calls.recovered::int as recovered
    from calls left join contacts on contacts.call_date = calls.call_date
        and contacts.contact_id = calls.contact_id and contacts.call_date between ? and ?
    where {where}
    """  # noqa: S608 - our own names; values are bound


def _figures_of_period() -> str:
    """Ask for each scope's groups: what `CustomerSums` needs, and shares.

    Shares are those of satisfaction_daily: negative speech of the calls with an index, the others of all calls.
    """
    customers = " union all ".join(
        f"""
        select '{scope}' as scope, key::varchar as key, sum(n)::bigint as indexed, sum(total) as total,
            count(*) as customers, sum(n * n)::double as n_squares, sum(total * total) as total_squares,
            sum(n * total) as products
        from (
            select {key} as key, customer, count(*) as n, sum(index) as total
            from period where index is not null and {key} is not null group by all
        ) group by key"""  # noqa: S608 - our own names
        for scope, key in _KEYS.items()
    )
    shares = " union all ".join(
        f"""
        select '{scope}' as scope, {key}::varchar as key, count(*) as calls,
            avg(negative_share) filter (index is not null) as negative_share, avg(escalated) as escalated_share,
            avg(recovered) as recovered_share
        from period where {key} is not null group by {key}"""  # noqa: S608 - our own names
        for scope, key in _KEYS.items()
    )
    return f"""
    with shares as ({shares}), customers as ({customers})
    select scope, key, calls, coalesce(indexed, 0) as indexed, coalesce(total, 0) as total, customers, n_squares,
        total_squares, products, negative_share, escalated_share, recovered_share
    from shares left join customers using (scope, key) order by scope, key
    """  # noqa: S608 - our own names


def suppressed(calls: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which groups' figures are not shown: those that may not be (`reporting.measures.too_few`), and of no call.

    Parameters
    ----------
    calls
        How many calls each group has, ``[shape=(groups,)]``; all groups of a total.
    """
    few = too_few(dict(enumerate(calls.tolist())))
    return np.array([not number or place in few for place, number in enumerate(calls)], dtype=bool)
