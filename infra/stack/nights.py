"""The nights of a running stack, asked of Airflow's interface: switched on, triggered, and how far they are."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

from infra.night import DAGS, StepProgress, step_progress
from infra.stack.errors import StackError
from infra.stack.services import ask
from jobs.staging import STEPS, RunStaging
from jobs.storage import Storage
from jobs.warehouse import Warehouse

NIGHT = DAGS["night"]
POLL_S = 2.0
NOT_FOUND = 404
CONFLICT = 409


class Nights:
    """Airflow's interface, as its user.

    Parameters
    ----------
    address
        Airflow's.
    user, password
        Of its user.
    staging
        Where the nights' steps say how far they are.
    warehouse
        Where they publish.
    """

    def __init__(self, address: str, user: str, password: str, staging: Storage, warehouse: Warehouse) -> None:
        self._api = f"{address}/api/v2"
        login = ask(f"{address}/auth/token", method="POST", content={"username": user, "password": password})
        self._token = login["access_token"]
        self._staging = staging
        self._warehouse = warehouse

    def _ask(self, path: str, method: str = "GET", content: Any = None) -> Any:
        return ask(f"{self._api}/{path}", self._token, method, content)

    def switch_on(self, dag: str, wait_s: float) -> None:
        """Let a DAG run on its schedule, once Airflow has read it.

        Raises
        ------
        StackError
            It has not within `wait_s` seconds.
        """
        deadline = time.monotonic() + wait_s
        while True:
            try:
                self._ask(f"dags/{dag}", "PATCH", {"is_paused": False})
            except HTTPError as error:
                if error.code != NOT_FOUND:
                    raise
            else:
                return
            if time.monotonic() > deadline:
                raise StackError(
                    f"Airflow has not read the DAG {dag} within {wait_s:.0f} s; its log airflow-dags.log says why"
                )
            time.sleep(POLL_S)

    def make_pool(self, name: str, slots: int) -> None:
        """Make a pool, unless it is there: how many slots that one has is its user's to say."""
        try:
            self._ask("pools", "POST", {"name": name, "slots": slots})
        except HTTPError as error:
            if error.code != CONFLICT:
                raise

    def trigger(self, call_date: date) -> str:
        """Ask for the night of a day; returns the run's name in Airflow."""
        content = {"logical_date": None, "conf": {"call_date": call_date.isoformat()}}
        return str(self._ask(f"dags/{NIGHT}/dagRuns", "POST", content)["dag_run_id"])

    def lines(self, now: datetime) -> list[str]:
        """What runs and how far it is, what ended last, and what is next, a line each."""
        said = [self._running(run, now) for run in self._runs("running", "start_date")]
        if waiting := self._runs("queued", "run_after", limit=1000):
            said.append(f"waiting: {len(waiting)} more")
        ended = [run for state in ("success", "failed") for run in self._runs(state, "-end_date", limit=1)]
        if ended:
            last = max(ended, key=lambda run: datetime.fromisoformat(run["end_date"]))
            name, minutes = last["dag_run_id"], (last["duration"] or 0) / 60
            said.append(f"last night: {name}, {last['state']}, {minutes:.1f} min{self._published(name)}")
        dag = self._ask(f"dags/{NIGHT}")
        following = "paused" if dag["is_paused"] else dag["next_dagrun_run_after"]
        return [*said, f"next night: {following}"]

    def _runs(self, state: str, order: str, limit: int = 10) -> list[Any]:
        asked = f"dags/{NIGHT}/dagRuns?state={state}&order_by={order}&limit={limit}"
        return list(self._ask(asked)["dag_runs"])

    def _tasks(self, run: str) -> dict[str, Any]:
        return {
            each["task_id"]: each
            for each in self._ask(f"dags/{NIGHT}/dagRuns/{quote(run)}/taskInstances")["task_instances"]
        }

    def _staged(self, run: str) -> RunStaging | None:
        """The staging of a run; None before its first task has named it."""
        try:
            named = self._ask(
                f"dags/{NIGHT}/dagRuns/{quote(run)}/taskInstances/start_night/xcomEntries/return_value?deserialize=true"
            )["value"]
        except HTTPError as error:
            if error.code != NOT_FOUND:
                raise
            return None
        return RunStaging(self._staging, date.fromisoformat(named["call_date"]), named["run_id"])

    def _published(self, run: str) -> str:
        """What a run published of its day, in words: one that found no calls is a success in Airflow, too."""
        staged = self._staged(run)
        if staged is None:
            return ""
        rows = self._warehouse.read("runs", call_date=staged.call_date).to_pylist()
        said = [(row["status"], row["status_detail"]) for row in rows if row["run_id"] == staged.run_id]
        return "".join(f"; {staged.call_date} is {': '.join(filter(None, words))}" for words in said)

    def _running(self, run: Any, now: datetime) -> str:
        name = run["dag_run_id"]
        staged = self._staged(name)
        if staged is None:
            return f"running: {name}, about to start"
        markers = staged.markers()
        at = step_progress(staged, "night", markers)
        if at is None:
            return f"running: night of {staged.call_date}, about to end"
        counted = f" {at.done} of {at.total} {at.unit}" if at.total else ""
        began = self._tasks(name)[at.step]["start_date"]
        elapsed_s = (now - datetime.fromisoformat(began)).total_seconds() if began else 0.0
        end = self._expected_end(staged, at, elapsed_s, now)
        expected = f"expected to end at {end:%H:%M} UTC" if end else "no night has succeeded here to tell the end by"
        return f"running: night of {staged.call_date}, {at.step}{counted}; {expected}"

    def _expected_end(self, staged: RunStaging, at: StepProgress, elapsed_s: float, now: datetime) -> datetime | None:
        earlier = self._runs("success", "-end_date", limit=1)
        if not earlier:
            return None
        name = earlier[0]["dag_run_id"]
        seconds = {task: each["duration"] or 0.0 for task, each in self._tasks(name).items()}
        before = self._staged(name)
        growth = 1.0
        if before is not None:
            plans = [run.marker("plan_recordings") for run in (staged, before)]
            planned = [plan.counts["planned"] for plan in plans if plan is not None]
            if len(planned) == len(plans) and planned[1]:
                growth = planned[0] / planned[1]
        return now + timedelta(seconds=remaining_s(at, elapsed_s, seconds, growth))


def remaining_s(
    at: StepProgress,
    elapsed_s: float,
    earlier_s: Mapping[str, float],
    growth: float,
    steps: Sequence[str] = STEPS["night"],
) -> float:
    """How long a night will take from now on.

    The step that is under way goes on as it went, where it says how far it is; else, and for the steps after it, as
    long as in an earlier night, longer by as much as the day is larger. A smaller day is not taken to be faster: much
    of a step is its start.

    Parameters
    ----------
    at
        How far the night is.
    elapsed_s
        Since its step began.
    earlier_s
        How long each step took in an earlier night.
    growth
        The recordings of this night, as a multiple of those of the earlier one.
    """
    factor = max(1.0, growth)
    later = steps[steps.index(at.step) + 1 :]
    if at.done:
        current = elapsed_s * (at.total - at.done) / at.done
    else:
        current = max(0.0, earlier_s.get(at.step, 0.0) * factor - elapsed_s)
    return current + factor * sum(earlier_s.get(step, 0.0) for step in later)
