"""Where the time of a run goes, by stage: functions are wrapped for the length of a block, their time counted once.

The time of a wrapped function that is called within another counts for its own stage only, so the stages add up. It is
the process's time on a processor, of all its threads, not the time on the wall: others may use the machine, too.
"""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Stopwatch:
    """Seconds by stage.

    Attributes
    ----------
    seconds
        What each stage took so far, without the stages within it.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._within = [0.0]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's time for a stage."""
        self._within.append(0.0)
        started = time.process_time()
        try:
            yield
        finally:
            took = time.process_time() - started
            self.seconds[name] += took - self._within.pop()
            self._within[-1] += took

    @contextmanager
    def watching(self, stages: Mapping[str, list[tuple[Any, str]]]) -> Iterator[None]:
        """Count the time of functions, each named as the attribute of a class or module, for their stages."""
        watched = [
            (owner, name, getattr(owner, name), stage) for stage, names in stages.items() for owner, name in names
        ]
        for owner, name, function, stage in watched:
            setattr(owner, name, self._timed(function, stage))
        try:
            yield
        finally:
            for owner, name, function, _ in watched:
                setattr(owner, name, function)

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(stage):
                return function(*args, **kwargs)

        return timed
