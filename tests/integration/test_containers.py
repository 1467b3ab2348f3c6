"""docker-compose.yml for real: images are built, a night runs in them on two Spark workers, then on one.

Only where CALLMOOD_TEST_COMPOSE names the command, as ``podman-compose`` or ``docker compose``; CALLMOOD_BASE_IMAGE
may name another base image, CALLMOOD_TEST_COMPOSE_BUILD more arguments of ``build`` (docs/deployment-containers.md).
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import time
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.demo.local_s3 import LocalS3, upload_folder
from infra.demo.sample_calls import TOPICS, TRUTH, make_sample_calls
from jobs.settings import ROOT

COMPOSE = os.environ.get("CALLMOOD_TEST_COMPOSE", "")
DAY = date(2026, 11, 20)
NIGHT = "nightly_emotion_log"
PORTS = {"AIRFLOW_PORT": "18080", "SPARK_MASTER_PORT": "18081", "S3_PORT": "19000", "DASHBOARD_PORT": "18501"}
pytestmark = [
    pytest.mark.skipif(not COMPOSE, reason="CALLMOOD_TEST_COMPOSE names no compose command"),
    pytest.mark.timeout(5400),
]


def wait_for(what: str, look: Callable[[], bool], timeout_s: float = 600) -> None:
    """Look every few seconds until it is so."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if look():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:.0f} s"
        time.sleep(3)


@dataclass(frozen=True)
class Stack:
    """The services of docker-compose.yml, started with secrets of their own."""

    environment: Mapping[str, str]

    def compose(self, *arguments: str) -> str:
        """Run the compose command; returns what it printed."""
        done = subprocess.run(
            [*shlex.split(COMPOSE), *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    def airflow(self, method: str, path: str, body: Mapping[str, Any] | None = None, token: str = "") -> Any:
        """Ask Airflow's API."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{PORTS['AIRFLOW_PORT']}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - its own loopback port
            return json.load(answer)

    def token(self) -> str:
        """Log in as admin."""
        password = self.environment["AIRFLOW_ADMIN_PASSWORD"]
        token: str = self.airflow("POST", "/auth/token", {"username": "admin", "password": password})["access_token"]
        return token

    def healthy(self) -> bool:
        """Whether every component of Airflow is."""
        parts = self.airflow("GET", "/api/v2/monitor/health")
        names = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return all(parts[name]["status"] == "healthy" for name in names)

    def workers(self) -> list[Mapping[str, Any]]:
        """The workers that Spark's master takes to be alive."""
        with urllib.request.urlopen(f"http://127.0.0.1:{PORTS['SPARK_MASTER_PORT']}/json/", timeout=60) as answer:
            return [worker for worker in json.load(answer)["workers"] if worker["state"] == "ALIVE"]

    def has_dag(self) -> bool:
        """Whether the DAG processor has read the nightly DAG."""
        return any(dag["dag_id"] == NIGHT for dag in self.airflow("GET", "/api/v2/dags", token=self.token())["dags"])

    def start_night(self) -> str:
        """Have the scheduler run the night of the sample day; returns the DAG run's id."""
        token = self.token()
        self.airflow("PATCH", f"/api/v2/dags/{NIGHT}", {"is_paused": False}, token)
        # Some of the sample calls cannot be scored, by design: by default so thin a night stops and asks.
        asked = {"call_date": DAY.isoformat(), "accept": "thin"}
        run = {"logical_date": datetime.now(UTC).isoformat(), "conf": asked}
        run_id: str = self.airflow("POST", f"/api/v2/dags/{NIGHT}/dagRuns", run, token)["dag_run_id"]
        return run_id

    def steps(self, run_id: str) -> Mapping[str, str]:
        """The state of every task of a DAG run."""
        path = f"/api/v2/dags/{NIGHT}/dagRuns/{run_id}/taskInstances"
        return {
            task["task_id"]: task["state"] for task in self.airflow("GET", path, token=self.token())["task_instances"]
        }

    def state(self, run_id: str) -> str:
        """The state of a DAG run."""
        state: str = self.airflow("GET", f"/api/v2/dags/{NIGHT}/dagRuns/{run_id}", token=self.token())["state"]
        return state

    def finish(self, run_id: str) -> None:
        """Wait for the DAG run, which must succeed."""
        wait_for("the night", lambda: self.state(run_id) in ("success", "failed"), 2400)
        assert self.state(run_id) == "success", self.steps(run_id)

    def stop_worker(self) -> None:
        """Stop one of Spark's workers for good."""
        engine = "podman" if "podman" in COMPOSE else "docker"
        labels = {"project": self.environment["COMPOSE_PROJECT_NAME"], "service": "spark-worker"}
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        found = subprocess.run([engine, "ps", "--quiet", *filters], capture_output=True, text=True, check=True)
        subprocess.run([engine, "stop", found.stdout.split()[0]], capture_output=True, check=True)

    def published(self) -> list[Mapping[str, Any]]:
        """The rows of `runs` of the sample day, read in the scheduler's container."""
        code = (
            "import json; from jobs.storage import LocalStorage; from jobs.warehouse import Warehouse; "
            "print(json.dumps(Warehouse(LocalStorage('/var/lib/callmood/warehouse')).read('runs').select("
            "['run_id', 'planned', 'scored', 'quarantined', 'skipped']).to_pylist()))"
        )
        answer = self.compose("exec", "-T", "airflow-scheduler", ".venv/jobs/bin/python", "-c", code)
        rows: list[Mapping[str, Any]] = json.loads(answer.strip().splitlines()[-1])
        return rows


def made_secrets() -> dict[str, str]:
    """Every variable that docker-compose.yml requires, with a value of this test's own."""
    names = [line[:-1] for line in (ROOT / ".env.example").read_text().splitlines() if line.endswith("=")]
    return {name: secrets.token_hex(24) for name in names} | {
        "AIRFLOW_FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AWS_ACCESS_KEY_ID": "callmood:test",
    }


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environment = {
        **os.environ,
        **made_secrets(),
        **PORTS,
        "COMPOSE_PROJECT_NAME": "callmood-test",
        "CALLMOOD_CONTACTS": "s3://recordings/contacts.jsonl",
        # The shipped model is a research model, and the sample calls are no product.
        "CALLMOOD_ACCEPT_NON_COMMERCIAL": "true",
        # So small a day would be read without Spark.
        "CALLMOOD_PARTITION_MB": "1",
    }
    stack = Stack(environment)
    stack.compose("build", *shlex.split(os.environ.get("CALLMOOD_TEST_COMPOSE_BUILD", "")))
    try:
        stack.compose("up", "--detach")
        sample = make_sample_calls(tmp_path_factory.mktemp("sample"), DAY)
        s3 = LocalS3(
            f"http://127.0.0.1:{PORTS['S3_PORT']}",
            access_key=environment["AWS_ACCESS_KEY_ID"],
            secret_key=environment["AWS_SECRET_ACCESS_KEY"],
        )
        health = f"http://127.0.0.1:{PORTS['S3_PORT']}/healthcheck"
        wait_for("S3", lambda: bool(urllib.request.urlopen(health, timeout=60).read()))
        s3.client().create_bucket(Bucket="recordings")
        upload_folder(s3, sample.folder, "recordings", ignore=(TOPICS, TRUTH, ".stamp"))
        wait_for("Airflow", stack.healthy)
        wait_for("the DAG", stack.has_dag)
        wait_for("two workers", lambda: len(stack.workers()) == 2)
        yield stack
    finally:
        stack.compose("down", "--volumes")


def test_a_night_on_two_workers(stack: Stack) -> None:
    run_id = stack.start_night()
    stack.finish(run_id)
    (run,) = stack.published()
    assert (run["planned"], run["scored"], run["quarantined"], run["skipped"]) == (24, 19, 3, 2)


def test_a_worker_that_is_stopped_half_way_does_not_stop_the_night(stack: Stack) -> None:
    before = {run["run_id"] for run in stack.published()}
    run_id = stack.start_night()
    wait_for("a worker at work", lambda: all(worker["coresused"] for worker in stack.workers()), 1200)
    stack.stop_worker()
    wait_for("one worker", lambda: len(stack.workers()) == 1)
    stack.finish(run_id)
    (run,) = [run for run in stack.published() if run["run_id"] not in before]
    assert (run["planned"], run["scored"], run["quarantined"], run["skipped"]) == (24, 19, 3, 2)


def test_the_dashboard_answers(stack: Stack) -> None:
    address = f"http://127.0.0.1:{PORTS['DASHBOARD_PORT']}/_stcore/health"
    wait_for("the dashboard", lambda: urllib.request.urlopen(address, timeout=60).read() == b"ok")


def test_nothing_that_must_not_be_written_can_be(stack: Stack) -> None:
    script = "touch /opt/callmood/jobs/x 2>/dev/null && echo written; id -u"
    assert stack.compose("exec", "-T", "airflow-scheduler", "bash", "-c", script).split() == ["50000"]


def test_the_stack_refuses_to_start_without_its_secrets(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in made_secrets()}
    (tmp_path / "docker-compose.yml").write_text((ROOT / "docker-compose.yml").read_text())
    asked = subprocess.run(
        [*shlex.split(COMPOSE), "config"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert asked.returncode != 0
    assert "into .env" in asked.stderr
