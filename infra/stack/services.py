"""The local stack's table of services: what each is started with, and how it is seen to be well.

A service is a line of `services`: its name, its command, its variables and its check. They are started in this order
and ended in the reverse one. Knows nothing of how processes are started and ended.
"""

from __future__ import annotations

import base64
import configparser
import json
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import yaml

from infra.demo.local_s3 import LocalS3
from infra.night import AIRFLOW, LocalAirflow
from infra.stack.errors import StackError
from jobs.settings import ROOT

HOST = "127.0.0.1"
JOBS_PYTHON = ROOT / ".venv" / "jobs" / "bin" / "python"
S3_PYTHON = ROOT / ".venv" / "s3-server" / "bin" / "python"
SPARK_CLASS = ROOT / "infra" / "spark" / "bin" / "spark-class"
PORTS: Mapping[str, int] = {"airflow": 8080, "s3": 9000, "spark": 7077, "spark-page": 8081, "dashboard": 8501}
"""The ports that are taken where they are free and no others are asked for."""
BUCKETS = ("recordings", "records")
WORKERS = 2
WORKER_MEMORY = "2g"
ANSWER_S = 30.0
"""How long an answer may take: just after the start, and while a night runs, all cores are busy."""
WELL_S = 5.0
"""How long the answer of a service that is well may take; it is looked at again and again."""
USER = "admin"
SPARK_POOL = "spark"
"""Airflow's pool of the steps that start Spark."""

Check = Callable[[], bool]


@dataclass(frozen=True)
class Service:
    """A process of the stack.

    Attributes
    ----------
    name
        What it is called in `make status`, and its log.
    command, environment
        What it is started with.
    is_well
        Whether it answers as it should, now.
    page
        Its address for people; empty where it has none.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    is_well: Check
    page: str = ""


@dataclass(frozen=True)
class Places:
    """Where a stack keeps what it keeps, all below one folder."""

    folder: Path

    @property
    def logs(self) -> Path:
        """Every service's output, and what Spark's executors say."""
        return self.folder / "logs"

    @property
    def airflow(self) -> LocalAirflow:
        """Airflow's folder; where it starts Spark is said in `services`."""
        return LocalAirflow(self.folder / "airflow")

    @property
    def passwords(self) -> Path:
        """Airflow's users with their passwords."""
        return self.folder / "airflow" / "passwords.json"

    @property
    def settings(self) -> Path:
        """The jobs' settings, made once and then the user's to change."""
        return self.folder / "settings.yaml"

    @property
    def environment(self) -> Path:
        """The variables with which the jobs find the stack, for a shell."""
        return self.folder / "environment"

    @property
    def airflow_environment(self) -> Path:
        """The variables with which Airflow's own commands find this Airflow, for a shell."""
        return self.folder / "airflow" / "environment"

    @property
    def s3(self) -> Path:
        """The S3 server's data."""
        return self.folder / "s3"

    def open_s3(self, ports: Mapping[str, int]) -> LocalS3:
        """The S3 server with its credentials, which it has made at its first start."""
        profile = configparser.ConfigParser(interpolation=None)
        profile.read(self.s3 / "credentials")
        keys = profile["default"]
        return LocalS3(_s3_address(ports), keys["aws_access_key_id"], keys["aws_secret_access_key"])


def choose_ports(asked: Mapping[str, int], before: Mapping[str, int], running: bool) -> dict[str, int]:
    """The ports of the services.

    Parameters
    ----------
    asked
        What the user wants, by name.
    before
        Those of the last start, kept where they are still free.
    running
        Whether services of the last start run: they keep their ports.

    Raises
    ------
    StackError
        A name is unknown, or a port that was asked for is taken.
    """
    unknown = sorted(asked.keys() - PORTS.keys())
    if unknown:
        raise StackError(f"there is no port named {', '.join(unknown)}; expected some of {', '.join(PORTS)}")
    if running:
        changed = {name for name, port in asked.items() if before.get(name, port) != port}
        if changed:
            raise StackError(f"the stack runs with other ports ({', '.join(sorted(changed))}); make down first")
    # A service that is new since then has none yet.
    ports: dict[str, int] = dict(before) if running else {}
    for name, usual in PORTS.items():
        if name in ports:
            continue
        if name in asked and not _is_free(asked[name]):
            raise StackError(f"port {asked[name]} ({name}) is taken; name another, or none, and a free one is found")
        wanted = asked.get(name) or before.get(name) or usual
        ports[name] = wanted if _is_free(wanted) and wanted not in ports.values() else _free_port()
    return ports


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as tried:
        # As servers do: a connection that ended just now does not keep the port.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def ask(
    address: str, token: str | None = None, method: str = "GET", content: Any = None, timeout_s: float = ANSWER_S
) -> Any:
    """Ask an HTTP server of the stack, past any proxy; its answer as JSON, or as text where it is none.

    Raises
    ------
    OSError
        It does not answer, or refuses (`urllib.error.HTTPError`).
    """
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if content is None else json.dumps(content).encode()
    request = Request(address, data=data, headers=headers, method=method)  # noqa: S310 - an http address of this module
    with build_opener(ProxyHandler({})).open(request, timeout=timeout_s) as answer:
        body = answer.read().decode()
    try:
        return json.loads(body)
    except json.JSONDecodeError:
        return body


def _answers(address: str, expected: Callable[[Any], bool]) -> Check:
    def check() -> bool:
        try:
            return expected(ask(address, timeout_s=WELL_S))
        except (URLError, OSError, KeyError, TypeError, AttributeError):
            return False

    return check


def _s3_address(ports: Mapping[str, int]) -> str:
    return f"http://{HOST}:{ports['s3']}"


def airflow_address(ports: Mapping[str, int]) -> str:
    """Where Airflow's page and its interface are."""
    return f"http://{HOST}:{ports['airflow']}"


def prepare(places: Places) -> None:
    """Make what is made once: folders, secrets (readable by nobody else) and the jobs' settings."""
    for folder in (places.folder, places.logs, places.airflow.home):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = places.folder / "identity.key"
    _write_once(key, secrets.token_hex(32))
    _write_once(places.passwords, json.dumps({USER: secrets.token_urlsafe(18)}))
    _write_once(
        places.airflow.home / "airflow.cfg",
        "# Made once by make up. Options that you add hold from the next make up on (docs/deployment.md).\n"
        "[core]\n"
        f"fernet_key = {base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}\n"
        f"simple_auth_manager_users = {USER}:admin\n"
        f"simple_auth_manager_passwords_file = {places.passwords}\n"
        f"[api]\nsecret_key = {secrets.token_hex(32)}\n"
        f"[api_auth]\njwt_secret = {secrets.token_hex(64)}\n",
    )
    settings = {
        "recordings": f"s3://{BUCKETS[0]}",
        "contacts": f"s3://{BUCKETS[1]}/contacts/%Y/%m/%d",
        "staging": str(places.folder / "staging"),
        "warehouse": str(places.folder / "warehouse"),
        "reports": str(places.folder / "reports"),
        "identity_key_file": str(key),
        "logs": [str(places.logs), str(places.airflow.home)],
        # The shipped model is a research model.
        "accept_non_commercial": True,
        # Of the sample calls a fifth cannot be scored, on purpose; days of real calls deserve the default.
        "coverage_degraded": 0.5,
    }
    _write_once(
        places.settings,
        "# The jobs' settings (docs/configuration.md), made once by make up. They are yours to change, and hold from\n"
        "# the next step on. accept_non_commercial is for the shipped model, coverage_degraded for the sample calls.\n"
        + yaml.safe_dump(settings, sort_keys=False),
    )


def _write_once(file: Path, content: str) -> None:
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
            made.write(content)


def job_variables(places: Places, ports: Mapping[str, int]) -> dict[str, str]:
    """What the jobs need to find the stack; no secret, only where one lies."""
    return {
        "CALLMOOD_SETTINGS_FILE": str(places.settings),
        "CALLMOOD_S3_ENDPOINT": _s3_address(ports),
        "CALLMOOD_S3_REGION": "us-east-1",
        "AWS_SHARED_CREDENTIALS_FILE": str(places.s3 / "credentials"),
    }


def _time_zone(places: Places, base: Mapping[str, str]) -> str:
    """The zone of call dates, as the jobs read it: the nights' schedule goes by it, too."""
    settings = yaml.safe_load(places.settings.read_text(encoding="utf-8")) if places.settings.exists() else {}
    return str(base.get("CALLMOOD_TIME_ZONE") or (settings or {}).get("time_zone") or "UTC")


def services(places: Places, ports: Mapping[str, int], base: Mapping[str, str]) -> list[Service]:
    """The table.

    Parameters
    ----------
    places, ports
        Of the stack.
    base
        The variables that the services are started with otherwise: those of whoever starts the stack, but for AWS's.
    """
    page = airflow_address(ports)
    master = f"spark://{HOST}:{ports['spark']}"
    spark_page = f"http://{HOST}:{ports['spark-page']}"
    dashboard = f"http://{HOST}:{ports['dashboard']}"
    health = f"{page}/api/v2/monitor/health"
    # A proxy that serves this machine must not be asked for what runs on it.
    direct = ",".join(filter(None, (base.get("no_proxy") or base.get("NO_PROXY"), f"{HOST},localhost")))
    kept = {name: value for name, value in base.items() if not name.startswith("AWS_")}
    plain = {**kept, "NO_PROXY": direct, "no_proxy": direct, **job_variables(places, ports)}
    airflow = LocalAirflow(places.airflow.home, retry_delay_s=60.0, spark_master=master).environment(plain) | {
        "AIRFLOW__CALLMOOD__TIME_ZONE": _time_zone(places, base),
        "AIRFLOW__CALLMOOD__SPARK_POOL": SPARK_POOL,
        "AIRFLOW__API__BASE_URL": page,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{page}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # A busy machine is no reason to give up a task.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__CORE__PARALLELISM": base.get("AIRFLOW__CORE__PARALLELISM", "4"),
    }
    cores = str(max(1, (os.cpu_count() or 1) // WORKERS))

    def spark(kind: str, *options: str) -> tuple[str, ...]:
        return (str(SPARK_CLASS), f"org.apache.spark.deploy.{kind}", "--host", HOST, *options)

    def worker(number: int) -> tuple[str, ...]:
        work = ("--work-dir", str(places.logs / f"spark-worker-{number}"))
        return spark("worker.Worker", "--webui-port", "0", "-c", cores, "-m", WORKER_MEMORY, *work, master)

    def component(name: str) -> Check:
        return _answers(health, lambda said: said[name]["status"] == "healthy")

    def logs_are_local(command: str) -> tuple[str, ...]:
        # The page reads the tasks' logs from the folder: no server for them is needed, which would listen everywhere.
        return (str(AIRFLOW), command, "--skip-serve-logs")

    return [
        Service(
            "s3",
            (str(S3_PYTHON), "-m", "infra.s3", "--data", str(places.s3), "--port", str(ports["s3"])),
            {**kept, "PYTHONPATH": str(ROOT)},
            _answers(f"{_s3_address(ports)}/healthcheck", lambda said: said == "OK"),
            _s3_address(ports),
        ),
        Service(
            "spark-master",
            spark("master.Master", "--port", str(ports["spark"]), "--webui-port", str(ports["spark-page"])),
            # Its second way in, for jobs handed over by HTTP, is not used.
            {**plain, "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false"},
            _answers(f"{spark_page}/json/", lambda said: said["status"] == "ALIVE"),
            spark_page,
        ),
        *(
            Service(
                f"spark-worker-{number}",
                worker(number),
                {**plain, "SPARK_WORKER_OPTS": "-Dspark.worker.cleanup.enabled=true"},
                _answers(f"{spark_page}/json/", lambda said: said["aliveworkers"] >= WORKERS),
            )
            for number in range(1, WORKERS + 1)
        ),
        Service(
            "airflow-api",
            (str(AIRFLOW), "api-server", "--host", HOST, "--port", str(ports["airflow"]), "--workers", "1"),
            airflow,
            _answers(health, lambda said: said["metadatabase"]["status"] == "healthy"),
            page,
        ),
        Service("airflow-scheduler", logs_are_local("scheduler"), airflow, component("scheduler")),
        Service("airflow-dags", (str(AIRFLOW), "dag-processor"), airflow, component("dag_processor")),
        Service("airflow-triggerer", logs_are_local("triggerer"), airflow, component("triggerer")),
        Service(
            "dashboard",
            (str(JOBS_PYTHON), "-m", "reporting.dashboard", "--port", str(ports["dashboard"])),
            {**plain, "PYTHONPATH": str(ROOT)},
            _answers(f"{dashboard}/_stcore/health", lambda said: said == "ok"),
            dashboard,
        ),
    ]
