"""The local stack: its processes end when told, and only they; its ports, secrets and the end that it expects."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from infra.night import StepProgress
from infra.stack import __main__ as module
from infra.stack import processes
from infra.stack.__main__ import Stack, State
from infra.stack.errors import StackError
from infra.stack.nights import remaining_s
from infra.stack.processes import Started, end, is_running, start
from infra.stack.services import HOST, PORTS, Places, Service, choose_ports, prepare, services

WAIT_S = 20
# A shell with a child of its own, and one more in a session of its own.
FAMILY = "sleep 300 & echo $! >> pids; setsid sleep 300 & echo $! >> pids; wait"


def within(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while not (held := is_so()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A stack's folder; whatever is left of what was started in it is ended."""
    yield tmp_path
    for pid in pids(tmp_path):
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def pids(folder: Path) -> list[int]:
    listed = folder / "pids"
    return [int(line) for line in listed.read_text().split()] if listed.exists() else []


def run(folder: Path, script: str) -> Started:
    started = start(("bash", "-c", f"echo $$ >> pids; {script}"), folder, dict(os.environ), folder / "log")
    assert within(lambda: len(pids(folder)) == 1 + script.count(">> pids"))
    return started


# --- Processes ---


def test_a_process_ends_with_all_that_it_started_also_in_other_sessions(folder: Path) -> None:
    started = run(folder, FAMILY)
    assert is_running(started)
    family = pids(folder)
    assert len(family) == 3 and all(map(alive, family))
    assert end([started], folder) == 0
    assert not any(map(alive, family))
    assert not is_running(started)


def test_who_does_not_heed_is_ended_without_asking(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_S", 0.6)
    started = run(folder, "trap '' TERM; while true; do sleep 0.1; done")
    assert end([started], folder) >= 1
    assert within(lambda: not alive(started.pid))


@pytest.mark.parametrize("how", ["variables", "folder"])
def test_what_a_dead_process_left_ends_too(folder: Path, how: str) -> None:
    moved = {"variables": "cd /; exec sleep 300", "folder": "exec env -i sleep 300"}[how]
    started = run(folder, f"({moved}) & echo $! >> pids; wait")
    orphan = pids(folder)[1]
    assert within(lambda: Path(f"/proc/{orphan}/comm").read_text() == "sleep\n")
    os.kill(started.pid, signal.SIGKILL)
    os.waitpid(started.pid, 0)
    assert alive(orphan)
    end([started], folder)
    assert within(lambda: not alive(orphan))


@pytest.mark.parametrize("recorded", ["another start", "another boot"])
def test_a_process_that_was_given_the_id_later_is_left_alone(folder: Path, recorded: str) -> None:
    stranger = run(folder, "exec sleep 300")
    booted, _, ticks = stranger.start.partition("/")
    reused = replace(stranger, start=f"{booted}/1" if recorded == "another start" else f"0000/{ticks}")
    assert not is_running(reused)
    assert end([reused], folder) == 0
    assert is_running(stranger)


def test_others_of_a_dead_process_id_are_left_alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    script = f"cd {elsewhere}; exec env -i sleep 300"
    started = run(folder, f"({script}) & echo $! >> pids; wait")
    stranger = pids(folder)[1]
    assert within(lambda: Path(f"/proc/{stranger}/comm").read_text() == "sleep\n")
    os.kill(started.pid, signal.SIGKILL)
    os.waitpid(started.pid, 0)
    assert end([started], folder) == 0
    assert alive(stranger)


# --- Ports ---


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as held:
        held.bind((HOST, 0))
        held.listen()
        yield int(held.getsockname()[1])


def test_a_port_that_is_taken_gives_way_to_a_free_one(taken: int) -> None:
    ports = choose_ports({}, dict.fromkeys(PORTS, taken), running=False)
    assert ports.keys() == PORTS.keys()
    assert len({*ports.values(), taken}) == len(PORTS) + 1


def test_a_port_that_was_asked_for_must_be_free(taken: int) -> None:
    with pytest.raises(StackError, match=rf"port {taken} \(s3\) is taken"):
        choose_ports({"s3": taken}, {}, running=False)


def test_a_name_that_is_none_is_an_error() -> None:
    with pytest.raises(StackError, match="no port named web; expected some of airflow, s3, spark"):
        choose_ports({"web": 1}, {}, running=False)


def test_what_runs_keeps_its_ports(taken: int) -> None:
    before = dict.fromkeys(PORTS, taken)
    assert choose_ports({"s3": taken}, before, running=True) == before
    with pytest.raises(StackError, match="other ports"):
        choose_ports({"s3": taken + 1}, before, running=True)


def test_a_service_that_is_new_gets_a_port_while_the_others_run(taken: int) -> None:
    before = {name: taken for name in PORTS if name != "spark-page"}
    ports = choose_ports({}, before, running=True)
    assert ports.keys() == PORTS.keys()
    assert {name: ports[name] for name in before} == before


# --- What is made once ---


def test_secrets_are_their_users_alone_stay_and_are_in_no_variable(tmp_path: Path) -> None:
    places = Places(tmp_path / "stack")
    prepare(places)
    files = [places.passwords, places.airflow.home / "airflow.cfg", places.folder / "identity.key"]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3
    before = [file.read_text() for file in files]
    prepare(places)
    assert [file.read_text() for file in files] == before
    secrets = [
        json.loads(before[0])["admin"],
        *(line.partition(" = ")[2] for line in before[1].splitlines() if "_key =" in line or "_secret =" in line),
        before[2],
    ]
    assert len(secrets) == 5 and all(len(secret) > 20 for secret in secrets)
    given = [
        text for service in services(places, PORTS, {}) for text in (*service.command, *service.environment.values())
    ]
    assert not [text for text in given for secret in secrets if secret in text]


def test_everything_listens_on_loopback_only(tmp_path: Path) -> None:
    for service in services(Places(tmp_path), PORTS, {}):
        command = " ".join(service.command)
        listens = {
            "s3": "infra.s3",  # its default; tests/integration/test_s3_server.py
            "spark": "--host 127.0.0.1",
            "airflow-api": "--host 127.0.0.1",
            "airflow-scheduler": "--skip-serve-logs",
            "airflow-triggerer": "--skip-serve-logs",
            "airflow-dags": "dag-processor",  # listens nowhere
            "dashboard": "reporting.dashboard",  # its configuration; tests/unit/test_dashboard_in_a_browser.py
        }
        assert next(said for name, said in listens.items() if service.name.startswith(name)) in command


def test_what_the_shell_has_of_aws_does_not_reach_the_stack(tmp_path: Path) -> None:
    for service in services(Places(tmp_path), PORTS, {"AWS_PROFILE": "production", "AWS_SECRET_ACCESS_KEY": "x"}):
        assert {name for name in service.environment if name.startswith("AWS_")} <= {"AWS_SHARED_CREDENTIALS_FILE"}


@pytest.mark.parametrize(
    ("setting", "variable", "expected"),
    [
        ("", {}, "UTC"),
        ("time_zone: Europe/Berlin", {}, "Europe/Berlin"),
        ("time_zone: Europe/Berlin", {"CALLMOOD_TIME_ZONE": "Asia/Tokyo"}, "Asia/Tokyo"),
    ],
)
def test_the_schedule_goes_by_the_zone_of_the_call_dates(
    tmp_path: Path, setting: str, variable: dict[str, str], expected: str
) -> None:
    places = Places(tmp_path)
    places.settings.write_text(f"{setting}\n")
    scheduler = next(each for each in services(places, PORTS, variable) if each.name == "airflow-scheduler")
    assert scheduler.environment["AIRFLOW__CALLMOOD__TIME_ZONE"] == expected


# --- Commands ---


class Small:
    """A stack of two services that sleep, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.said = StringIO()
        self.stack = Stack(folder / "stack", Console(file=self.said, width=200))
        self.folder = folder / "stack"

    def says(self) -> str:
        text = self.said.getvalue()
        self.said.truncate(self.said.seek(0))
        return text

    def pid(self, name: str) -> int:
        return self.stack.read().processes[name].pid


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    def table(places: Places, ports: object, base: object) -> list[Service]:
        sleep = ("bash", "-c", "sleep 300 & wait")
        return [Service(name, sleep, dict(os.environ), lambda: True, "http://here") for name in ("one", "airflow-api")]

    monkeypatch.setattr(module, "services", table)
    monkeypatch.setattr(module, "migrate", lambda *_: None)
    monkeypatch.setattr(module, "S3_PYTHON", Path(sys.executable))
    monkeypatch.setattr(Stack, "_finish", lambda *_: None)
    monkeypatch.setattr(Stack, "nights", lambda *_: type("", (), {"lines": lambda *_: ["next night: tomorrow"]})())
    made = Small(tmp_path)
    yield made
    end(list(made.stack.read().processes.values()), made.folder)


def test_up_status_down(small: Small) -> None:
    small.stack.up({})
    assert small.stack.status() == 0
    said = small.says()
    assert f"one                well      pid {small.pid('one')}" in said
    assert str(small.stack.places.passwords) in said and "next night: tomorrow" in said
    started = list(small.stack.read().processes.values())
    small.stack.down()
    assert "ended 2 services; what they keep stays in" in small.says()
    assert not any(map(is_running, started))
    assert small.stack.status() == 1
    assert small.says() == "nothing runs; start it with make up\n"


def test_a_second_up_starts_nothing(small: Small) -> None:
    small.stack.up({})
    before = small.stack.read()
    small.says()
    small.stack.up({})
    assert small.says() == "everything runs already\n"
    assert small.stack.read() == before


def test_a_process_that_died_is_shown_and_started_again_alone(small: Small) -> None:
    small.stack.up({})
    small.says()
    one, other = small.pid("one"), small.pid("airflow-api")
    os.kill(one, signal.SIGKILL)
    assert within(lambda: not alive(one))
    assert small.stack.status() == 1
    assert f"one                ended                  see {small.folder}/logs/one.log" in small.says()
    small.stack.up({})
    assert "started 1 services" in small.says()
    assert small.pid("one") != one and small.pid("airflow-api") == other
    assert small.stack.status() == 0


def test_a_service_that_ends_at_once_is_named_and_the_others_are_ended(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = module.services(small.stack.places, {}, {})
    broken = [table[0], replace(table[1], command=("false",), is_well=lambda: False)]
    monkeypatch.setattr(module, "services", lambda *_: broken)
    with pytest.raises(StackError, match=r"airflow-api ended; .*logs/airflow-api\.log says why"):
        small.stack.up({})
    assert small.stack.read().running == set()


def test_what_was_never_started_is_not_ended(tmp_path: Path) -> None:
    said = StringIO()
    Stack(tmp_path / "none", Console(file=said, width=200)).down()
    assert said.getvalue() == f"nothing was ever started in {tmp_path / 'none'}\n"


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    stack = Stack(tmp_path, Console())
    state = State({"s3": 9000}, {"s3": Started(12, "boot/34")}, switched_on=True)
    stack.write(state)
    assert stack.read() == state


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"ports": {}, "processes": {"s3": 1}, "switched_on": true}'])
def test_a_damaged_record_is_an_error_in_words(tmp_path: Path, record: str) -> None:
    stack = Stack(tmp_path, Console())
    stack.state_file.write_text(record)
    with pytest.raises(StackError, match=r"stack\.json does not say what runs .*STACK=folder"):
        stack.read()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["up", "--ports", "s3"], "'s3' is no port; expected numbers of "),
        (["up", "--ports", "s3=0"], "'s3=0' is no port"),
        (["up", "--ports", "airflow=8090,s3=65536"], "'s3=65536' is no port"),
        (["up", "--ports", "database=5432"], "'database=5432' is no port"),
        (["sample-day", "--date", ""], "'' is no date; expected YYYY-MM-DD"),
        (["trigger", "--date", "yesterday"], "'yesterday' is no date; expected YYYY-MM-DD"),
    ],
)
def test_arguments_that_are_none(
    arguments: Sequence[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        module.main(["--folder", str(tmp_path), *arguments])
    assert expected in capsys.readouterr().err


# --- The end that is expected ---

EARLIER_S = {"plan_recordings": 10.0, "extract_features": 100.0, "classify_emotions": 50.0, "summarize_calls": 20.0}
STEPS = tuple(EARLIER_S)


@pytest.mark.parametrize(
    ("at", "elapsed_s", "growth", "expected_s"),
    [
        # What counts goes on as it went: 10 of 40 took 30 s; then 50 s and 20 s.
        (StepProgress("extract_features", 10, 40), 30.0, 1.0, 90.0 + 70.0),
        # The steps after it take longer on a larger day, and no less on a smaller one.
        (StepProgress("extract_features", 10, 40), 30.0, 3.0, 90.0 + 210.0),
        (StepProgress("extract_features", 10, 40), 30.0, 0.1, 90.0 + 70.0),
        # Nothing counted yet: as long as before, less what it has taken.
        (StepProgress("extract_features", 0, 40), 30.0, 1.0, 70.0 + 70.0),
        (StepProgress("extract_features", 0, 40), 130.0, 1.0, 70.0),
        (StepProgress("summarize_calls"), 5.0, 1.0, 15.0),
    ],
)
def test_how_long_a_night_will_take(at: StepProgress, elapsed_s: float, growth: float, expected_s: float) -> None:
    assert remaining_s(at, elapsed_s, EARLIER_S, growth, STEPS) == pytest.approx(expected_s)
