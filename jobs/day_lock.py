"""The lock by which two runs that publish the same call date exclude each other, on any storage.

Knows of storage and call dates only; nothing of tables or of what is done under the lock.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from typing import Self

from jobs.errors import DayLocked, JobError
from jobs.storage import Storage

LEASE_S = 60.0

log = logging.getLogger("callmood.lock")


@dataclass(frozen=True)
class LockState:
    """What a lock file says: who holds the lock, since when, how long at least, whether it was given back."""

    holder: str
    started_at: str
    renewed_at: float
    lease_s: float
    token: str
    released: bool = False

    @property
    def expires_at(self) -> float:
        """Seconds since 1970 at which the lock is dead unless it is renewed."""
        return self.renewed_at + self.lease_s


class DayLock:
    """A context manager that holds the lock of a call date: ``_locks/<call_date>/<generation>.json``.

    S3 can create a file only if there is none, but cannot everywhere replace or delete one only if it is
    unchanged; so a lock is never handed over by deleting its file. The file with the highest generation is
    the lock. Whoever has seen generation n released or dead creates n + 1, which only one of several can,
    and holds the lock; the files of lower generations are then his to delete. One who saw n too long ago
    finds a higher generation after creating his own, and gives up.

    A holder renews his file every quarter of the lease. He is taken for dead when the lease is over by the
    file's own word and the file does not change for another quarter, so that clocks that differ between
    machines may delay a take-over but cause none. A holder that was stopped and comes back must not go on:
    ``check``, called before each step that changes something, refuses when half a lease has gone by without
    a renewal, long before another run may take over. A pause of half a lease right after ``check`` is all
    that is not excluded here; the commits of the tables have their own guard against it (``Warehouse``).

    Parameters
    ----------
    storage
        The warehouse.
    call_date
        The day to lock.
    holder
        Who asks for it, for whoever finds the day locked: the run's id.
    lease_s
        Seconds without renewal after which a holder is dead.

    Raises
    ------
    DayLocked
        On entering, where another run holds the lock.
    """

    def __init__(self, storage: Storage, call_date: date, holder: str, lease_s: float = LEASE_S) -> None:
        self.storage = storage
        self.call_date = call_date
        self.folder = f"_locks/{call_date.isoformat()}"
        self._state = LockState(
            f"{holder} on {socket.gethostname()}, process {os.getpid()}",
            datetime.now(UTC).isoformat(timespec="seconds"),
            time.time(),
            lease_s,
            secrets.token_hex(8),
        )
        self._generation = 0
        self._renewed = 0.0
        self._lost = False
        self._leave = threading.Event()
        self._heart = threading.Thread(target=self._beat, name=f"lock of {call_date}", daemon=True)

    def __enter__(self) -> Self:
        self._acquire()
        self._heart.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._leave.set()
        self._heart.join()
        try:
            if not self._lost:
                self._write(replace(self._state, released=True))
        except JobError as error:
            log.warning("the lock of %s was not released and expires by itself: %s", self.call_date, error)

    def check(self) -> None:
        """Make sure that the lock is still held.

        Raises
        ------
        DayLocked
            Where it was taken over, or could not be renewed in time and may be.
        """
        if self._lost or time.monotonic() - self._renewed > self._state.lease_s / 2:
            raise DayLocked(
                f"the lock of {self.call_date} was not renewed in time and may be another run's by now; "
                "nothing more was changed; try again"
            )

    def _acquire(self) -> None:
        generation, state = self._newest()
        if state is not None and not state.released and not self._is_dead(generation, state):
            until = datetime.fromtimestamp(state.expires_at, UTC).isoformat(timespec="seconds")
            raise DayLocked(
                f"{self.call_date} is being published by run {state.holder}, since {state.started_at}; wait "
                f"for it, or until {until} if it died, and try again"
            )
        if state is not None and not state.released:
            log.warning("taking over the lock of %s from run %s, which died", self.call_date, state.holder)
        self._generation = generation + 1
        self._renewed = time.monotonic()
        self._state = replace(self._state, renewed_at=time.time())
        created = self.storage.create(self._path(self._generation), self._content(self._state))
        if created and self._newest()[0] != self._generation:
            self.storage.delete(self._path(self._generation))
            created = False
        if not created:
            raise DayLocked(f"another run began to publish {self.call_date} at the same moment; try again")
        for file in list(self.storage.files(self.folder)):
            if file.path != self._path(self._generation):
                self.storage.delete(file.path)

    def _newest(self) -> tuple[int, LockState | None]:
        """Return the highest generation and its state; 0 and None where the day was never locked."""
        while True:
            paths = [file.path for file in self.storage.files(self.folder)]
            names = [path.removeprefix(f"{self.folder}/").removesuffix(".json") for path in paths]
            generation = max((int(name) for name in names if name.isdecimal()), default=0)
            if generation == 0:
                return 0, None
            state = self._read(generation)
            if state is not None:  # else it was superseded since the listing
                return generation, state

    def _is_dead(self, generation: int, state: LockState) -> bool:
        if time.time() < state.expires_at:
            return False
        # The clocks of two machines may differ: a living holder shows by renewing.
        time.sleep(state.lease_s / 4)
        return self._read(generation) == state

    def _beat(self) -> None:
        while not self._leave.wait(self._state.lease_s / 4):
            begun = time.monotonic()
            try:
                if self._newest()[0] != self._generation:
                    self._lost = True
                    return
                self._write(replace(self._state, renewed_at=time.time()))
                self._renewed = begun
            except (JobError, OSError) as error:  # check() decides, by the time since the last renewal
                log.warning("the lock of %s could not be renewed: %s", self.call_date, error)

    def _path(self, generation: int) -> str:
        return f"{self.folder}/{generation}.json"

    def _read(self, generation: int) -> LockState | None:
        return _state(self.storage, self._path(generation))

    def _write(self, state: LockState) -> None:
        self.storage.write(self._path(self._generation), self._content(state))

    @staticmethod
    def _content(state: LockState) -> bytes:
        return json.dumps(asdict(state), indent=1).encode()


def locked_days(storage: Storage) -> set[date]:
    """The days whose lock somebody holds, or held when he died."""
    newest: dict[date, int] = {}
    for file in storage.files("_locks"):
        folder, _, name = file.path.removeprefix("_locks/").partition("/")
        if name.removesuffix(".json").isdecimal():
            day = date.fromisoformat(folder)
            newest[day] = max(newest.get(day, 0), int(name.removesuffix(".json")))
    states = {day: _state(storage, f"_locks/{day}/{generation}.json") for day, generation in newest.items()}
    return {day for day, state in states.items() if state is None or not state.released}


def _state(storage: Storage, path: str) -> LockState | None:
    try:
        return storage.read_json(path, lambda found: LockState(**found))
    except FileNotFoundError:
        return None
