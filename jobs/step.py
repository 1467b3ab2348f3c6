"""How a step runs: arguments, settings, markers, exit status and messages, the same for all of them.

A step's module has a function ``run(context) -> counts`` and ends with ``run_command(lambda: step_main(...))``.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from jobs.command import call_date, exit_status, run_command, run_name
from jobs.discretion import show_ids, start_logging
from jobs.errors import JobError
from jobs.settings import Settings, load_settings
from jobs.staging import ALL_STEPS, RunStaging, StepMarker
from jobs.storage import open_storage
from schemas.errors import SchemaError

log = logging.getLogger("callmood")


@dataclass(frozen=True)
class StepContext:
    """What a step is given: the settings, its run's staging, and its parsed arguments."""

    settings: Settings
    staging: RunStaging
    arguments: argparse.Namespace

    @property
    def call_date(self) -> date:
        """The day that the run computes."""
        return self.staging.call_date

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self.staging.run_id


def step_main(
    step: str,
    run: Callable[[StepContext], Mapping[str, float]],
    description: str | None,
    argv: Sequence[str] | None = None,
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None,
) -> int:
    """Run a step between its checks and its marker.

    Parameters
    ----------
    step
        One of ``ALL_STEPS``.
    run
        Does the work; what it returns goes into the marker.
    description
        The module's docstring, for ``--help``.

    Returns
    -------
    The exit status: 0 done, 2 failed for good, 75 failed but another try may help. The marker says the same,
    and is what counts.
    """
    assert step in ALL_STEPS  # noqa: S101 - a slip in our own code
    parser = argparse.ArgumentParser(
        prog=f"python -m jobs.{step}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--call-date", required=True, type=call_date, help="the day to compute, YYYY-MM-DD")
    parser.add_argument("--run-id", required=True, type=run_name, help="the run's name: the same for all its steps")
    parser.add_argument("--attempt", type=run_name, help="a name for this try, which the marker repeats")
    parser.add_argument("--debug-ids", action="store_true", help="let logs name recordings and contacts")
    if add_arguments is not None:
        add_arguments(parser)
    arguments = parser.parse_args(argv)
    start_logging()
    show_ids(arguments.debug_ids)

    staging: RunStaging | None = None
    started = time.monotonic()

    def marker(status: str, **more: Any) -> StepMarker:
        seconds = round(time.monotonic() - started, 3)
        return StepMarker(step, arguments.run_id, status, seconds, attempt=arguments.attempt, **more)

    try:
        settings = load_settings()
        show_ids(arguments.debug_ids or settings.debug_ids)
        staging = RunStaging(open_storage(settings.staging, settings), arguments.call_date, arguments.run_id)
        staging.begin(step)
        counts = run(StepContext(settings, staging, arguments))
        staging.end(marker("done", counts=dict(counts)))
    except (JobError, SchemaError) as error:
        return _failed(marker("failed", reason=str(error), permanent=error.permanent), staging)
    except Exception as error:  # the marker must say that the step failed, whatever it was
        log.exception("%s failed unexpectedly", step)
        return _failed(marker("failed", reason=f"unexpected {type(error).__name__}; its log says where"), staging)
    log.info("%s done in %.1f s: %s", step, time.monotonic() - started, _in_words(counts))
    return 0


def _failed(marker: StepMarker, staging: RunStaging | None) -> int:
    log.error("%s failed%s: %s", marker.step, "" if marker.permanent else ", another try may help", marker.reason)
    if staging is not None:
        try:
            staging.end(marker)
        except JobError as error:
            log.error("nor could the failure be recorded: %s", error)
    return exit_status(permanent=marker.permanent)


def _in_words(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in counts.items())


def step_status(argv: Sequence[str] | None = None) -> int:
    """Print the marker of a try of a step as JSON, null where it left none: all that the scheduler trusts."""
    import json
    from dataclasses import asdict

    parser = argparse.ArgumentParser(prog="python -m jobs.step", description=step_status.__doc__)
    parser.add_argument("--call-date", required=True, type=call_date)
    parser.add_argument("--run-id", required=True, type=run_name)
    parser.add_argument("--attempt", type=run_name)
    parser.add_argument("--step", required=True, choices=ALL_STEPS)
    arguments = parser.parse_args(argv)
    try:
        settings = load_settings()
        staging = RunStaging(open_storage(settings.staging, settings), arguments.call_date, arguments.run_id)
        marker = staging.marker(arguments.step)
        if marker is not None and marker.attempt != arguments.attempt:
            marker = None
    except JobError as error:
        failed = {"reason": str(error), "permanent": error.permanent, "attempt": arguments.attempt}
        marker = StepMarker(arguments.step, arguments.run_id, "failed", 0.0, **failed)
    print(json.dumps(None if marker is None else asdict(marker)))  # noqa: T201 - the answer
    return 0


if __name__ == "__main__":
    run_command(step_status)
