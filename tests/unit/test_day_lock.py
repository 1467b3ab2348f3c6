"""The lock of a day: one holder, also where holders die, sleep, or have wrong clocks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from jobs.day_lock import DayLock
from jobs.errors import DayLocked
from jobs.storage import LocalStorage

DAY = date(2026, 11, 20)
FOLDER = "_locks/2026-11-20"
LEASE_S = 0.8


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


@pytest.fixture
def lock(storage: LocalStorage) -> Callable[[str], DayLock]:
    return lambda holder: DayLock(storage, DAY, holder, LEASE_S)


def dead_lock(storage: LocalStorage, generation: int = 1, age_s: float = 3600.0) -> None:
    """The file of a holder that has not renewed it for ``age_s``."""
    content = {
        "holder": "run-dead on host, process 1",
        "started_at": "2026-11-21T08:00:00+00:00",
        "renewed_at": time.time() - age_s,
        "lease_s": LEASE_S,
        "token": "0123",
    }
    storage.write(f"{FOLDER}/{generation}.json", json.dumps(content).encode())


def lock_files(storage: LocalStorage) -> list[str]:
    return [file.path.removeprefix(f"{FOLDER}/") for file in storage.files(FOLDER)]


def test_a_second_run_of_the_day_is_told_who_holds_it(lock: Callable[[str], DayLock]) -> None:
    with lock("run-1"), pytest.raises(DayLocked, match=r"2026-11-20 is being published by run run-1 on .*wait"):
        lock("run-2").__enter__()
    with lock("run-2"):
        pass


def test_other_days_are_free(storage: LocalStorage, lock: Callable[[str], DayLock]) -> None:
    with lock("run-1"), DayLock(storage, date(2026, 11, 21), "run-2", LEASE_S) as other:
        other.check()


def test_it_is_given_back_when_the_work_fails(lock: Callable[[str], DayLock]) -> None:
    with pytest.raises(ZeroDivisionError), lock("run-1"):
        raise ZeroDivisionError
    with lock("run-2") as held:
        held.check()


def test_a_holder_that_works_long_keeps_it(lock: Callable[[str], DayLock]) -> None:
    with lock("run-1") as held:
        time.sleep(LEASE_S * 2)
        held.check()
        with pytest.raises(DayLocked):
            lock("run-2").__enter__()


def test_a_dead_holders_lock_is_taken_over(storage: LocalStorage, lock: Callable[[str], DayLock]) -> None:
    dead_lock(storage, generation=7)
    with lock("run-2") as held:
        held.check()
        assert lock_files(storage) == ["8.json"]


@pytest.mark.parametrize("age_s", [0.0, -3600.0], ids=["renewed just now", "by a clock that is an hour ahead"])
def test_a_lock_is_alive_until_its_own_word_says_otherwise(
    storage: LocalStorage, lock: Callable[[str], DayLock], age_s: float
) -> None:
    dead_lock(storage, age_s=age_s)
    with pytest.raises(DayLocked):
        lock("run-2").__enter__()


def test_a_holder_whose_clock_is_behind_is_not_taken_for_dead(
    storage: LocalStorage, lock: Callable[[str], DayLock]
) -> None:
    dead_lock(storage)
    leave = threading.Event()

    def renew() -> None:
        behind_s = 3600.0
        while not leave.wait(LEASE_S / 20):
            behind_s += 0.001
            dead_lock(storage, age_s=behind_s)

    holder = threading.Thread(target=renew)
    holder.start()
    try:
        with pytest.raises(DayLocked):
            lock("run-2").__enter__()
    finally:
        leave.set()
        holder.join()


def test_one_of_many_takes_a_dead_holders_lock(storage: LocalStorage, lock: Callable[[str], DayLock]) -> None:
    dead_lock(storage)
    start, done = threading.Barrier(8), threading.Barrier(8)
    holders, refused = [], []

    def contend(name: str) -> None:
        start.wait()
        try:
            with lock(name):
                holders.append(name)
                done.wait()
        except DayLocked:
            refused.append(name)
            done.wait()

    threads = [threading.Thread(target=contend, args=(f"run-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(holders), len(refused)) == (1, 7)


def test_one_who_looked_too_long_ago_gives_up(storage: LocalStorage, lock: Callable[[str], DayLock]) -> None:
    """He saw generation 1 dead; by the time that he creates 2, it was created, given back and deleted."""
    with lock("run-1"):
        pass
    slow = lock("run-slow")
    seen = slow._newest()
    for holder in ("run-2", "run-3"):
        with lock(holder):
            pass
    looks = iter([seen])
    newest = slow._newest
    slow._newest = lambda: next(looks, None) or newest()
    with pytest.raises(DayLocked, match="at the same moment"):
        slow.__enter__()
    assert lock_files(storage) == ["3.json"]


def test_a_holder_that_slept_through_its_lease_stops(
    storage: LocalStorage, lock: Callable[[str], DayLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = lock("run-1")
    monkeypatch.setattr(sleeper, "_beat", lambda: None)
    sleeper._heart = threading.Thread(target=sleeper._beat)
    with sleeper:
        sleeper.check()
        time.sleep(LEASE_S * 0.75)
        with pytest.raises(DayLocked, match="not renewed in time"):
            sleeper.check()
        time.sleep(LEASE_S / 2)
        with lock("run-2") as other:
            other.check()
            sleeper.__exit__()
            other.check()
            assert other._newest()[0] == other._generation


def test_a_holder_learns_that_it_was_taken_over(storage: LocalStorage, lock: Callable[[str], DayLock]) -> None:
    with lock("run-1") as held:
        dead_lock(storage, generation=2, age_s=0.0)
        time.sleep(LEASE_S / 2)
        with pytest.raises(DayLocked):
            held.check()
    assert json.loads(storage.read(f"{FOLDER}/2.json"))["holder"].startswith("run-dead")
