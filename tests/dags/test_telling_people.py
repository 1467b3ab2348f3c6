"""Channels get what is to be said, through Airflow's notifiers; what fails is tried again and stops nothing."""

from __future__ import annotations

import dataclasses
import email
import email.policy
import json
import logging
import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parent.parent.parent
NIGHT = {"--call-date": "2026-11-20", "--run-id": "run-1"}
BODY = "Billing <b>: 0.41 & more\n{{ 1 / 0 }}"


# Channels


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ("", []),
        ("smtp:ops@example.com", [("smtp", "ops@example.com", "note")]),
        (
            "page sns:arn:aws:sns:eu-central-1:1:t, ticket webhook:chat",
            [("sns", "arn:aws:sns:eu-central-1:1:t", "page"), ("webhook", "chat", "ticket")],
        ),
    ],
)
def test_the_setting_names_channels(text: str, channels: list[tuple[str, str, str]]) -> None:
    from channels import Channel, read_channels

    assert read_channels(text) == tuple(Channel(*each) for each in channels)


@pytest.mark.parametrize("text", ["smtp", "smtp:", "mail:a@b.c", "urgent smtp:a@b.c", "smtp:a@b.c webhook:x"])
def test_what_is_no_channel_is_named(text: str) -> None:
    from channels import read_channels

    with pytest.raises(ValueError, match=f"channels: '{re.escape(text)}' is none; expected smtp:ADDRESS"):
        read_channels(text)


class Mails(socketserver.StreamRequestHandler):
    """As much of SMTP as takes a mail."""

    def handle(self) -> None:
        self.wfile.write(b"220 sink\r\n")
        while line := self.rfile.readline():
            word = line.split(b" ")[0].strip().upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.append(email.message_from_bytes(b"".join(lines), policy=email.policy.default))  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")
            if word == b"QUIT":
                return


class Posts(BaseHTTPRequestHandler):
    """Keeps what is posted; refuses so many first."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        refused = self.server.refuse > 0  # type: ignore[attr-defined]
        self.server.refuse -= 1  # type: ignore[attr-defined]
        if not refused:
            self.server.posts.append((self.path, json.loads(content)))  # type: ignore[attr-defined]
        self.send_response(500 if refused else 200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def served(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def mail_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mails)
    server.daemon_threads = True
    server.mails = []  # type: ignore[attr-defined]
    extra = {"from_email": "callmood@example.com", "disable_ssl": True, "disable_tls": True, "retry_limit": 1}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": server.server_address[1], "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
    yield from served(server)


@pytest.fixture
def web_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server = HTTPServer(("127.0.0.1", 0), Posts)
    server.posts, server.refuse = [], 0  # type: ignore[attr-defined]
    address = f"http://127.0.0.1:{server.server_address[1]}/hooks/secret"
    monkeypatch.setenv("AIRFLOW_CONN_CHAT", json.dumps({"conn_type": "http", "host": address}))
    yield from served(server)


def test_an_email_has_the_text_as_it_is_and_the_page(mail_server: Any) -> None:
    from channels import Channel, Notification, send

    said = Notification("ticket", "3 alerts on 2026-11-20", BODY, "callmood-day.html", "<html>Straße</html>")
    send(said, Channel("smtp", "ops@example.com"), tries=1)
    (mail,) = mail_server.mails
    assert mail["Subject"] == "[Callmood, ticket] 3 alerts on 2026-11-20"
    assert (mail["From"], mail["To"]) == ("callmood@example.com", "ops@example.com")
    text, page = mail.walk(), None
    parts = {part.get_content_type(): part for part in text if not part.is_multipart()}
    assert "Billing &lt;b&gt;: 0.41 &amp; more\n{{ 1 / 0 }}" in parts["text/html"].get_content()
    page = next(part for part in mail.walk() if part.get_filename() == "callmood-day.html")
    assert page.get_payload(decode=True).decode() == "<html>Straße</html>"


def test_a_webhook_gets_json(web_server: Any) -> None:
    from channels import Channel, Notification, send

    send(Notification("note", "A title", BODY), Channel("webhook", "chat"), tries=1)
    said = {"severity": "note", "title": "A title", "body": BODY, "text": f"[Callmood, note] A title\n{BODY}"}
    assert web_server.posts == [("/hooks/secret", said)]


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """A topic of a moto server, with a queue that gets what is published to it."""
    boto3 = pytest.importorskip("boto3")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    moto = [str(ROOT / ".venv/jobs/bin/python"), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    for name, value in (("ID", "test"), ("SECRET", "test")):
        monkeypatch.setenv(f"AWS_{'ACCESS_KEY_ID' if name == 'ID' else 'SECRET_ACCESS_KEY'}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    with subprocess.Popen(moto, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{address}/moto-api/", timeout=5).close()  # noqa: S310 - our own server
                break
            except OSError:
                time.sleep(0.2)
        queues = boto3.client("sqs", region_name="eu-central-1")
        topics = boto3.client("sns", region_name="eu-central-1")
        queue = queues.create_queue(QueueName="told")["QueueUrl"]
        arn = topics.create_topic(Name="callmood")["TopicArn"]
        queue_arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topics.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
        yield arn, lambda: queues.receive_message(QueueUrl=queue, WaitTimeSeconds=2).get("Messages", [])
        process.terminate()


def test_a_topic_gets_a_subject_in_ascii_and_the_text(topic: tuple[str, Any]) -> None:
    from channels import Channel, Notification, send

    arn, received = topic
    send(Notification("page", "Größer als üblich " * 10, BODY), Channel("sns", arn), tries=1)
    (message,) = received()
    said = json.loads(message["Body"])
    assert said["Message"] == BODY
    assert said["Subject"] == ("[Callmood, page] " + "Gr??er als ?blich " * 10)[:99]


def test_what_fails_is_tried_again(web_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    from channels import Channel, Notification, NotSent, send

    web_server.refuse = 2
    send(Notification("note", "A title", ""), Channel("webhook", "chat"), tries=3, wait_s=0)
    assert len(web_server.posts) == 1

    caplog.clear()
    web_server.refuse = 9
    with caplog.at_level(logging.INFO, "callmood.channels"), pytest.raises(NotSent, match="a note could not be sent"):
        send(Notification("note", "A title", ""), Channel("webhook", "chat"), tries=2, wait_s=0)
    ours = [record.getMessage() for record in caplog.records if record.name == "callmood.channels"]
    assert len(ours) == 2
    assert not any("secret" in message for message in ours)


# Days


def jobs_that_say(folder: Path, *said: dict[str, Any]) -> Any:
    """A deployment whose jobs print these as JSON, whatever is asked, and keep what was asked."""
    from deployment import read_deployment

    (python := folder / "python").write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\ncat {folder}/said\n')
    python.chmod(0o700)
    (folder / "said").write_text(json.dumps(said[0] if len(said) == 1 and "steps" in said[0] else said))
    return dataclasses.replace(read_deployment(), home=folder, jobs_python=str(python))


ALERTS = {"about": "alerts", "mark": "m", "severity": "note", "title": "t", "body": "b", "page": None}


def test_a_day_is_told_over_every_channel_that_works(
    tmp_path: Path, web_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import channels
    from channels import read_channels
    from notify import tell_day

    monkeypatch.setattr(channels, "WAIT_S", 0.0)
    monkeypatch.setattr(channels.time, "sleep", lambda _: None)
    deployment = dataclasses.replace(
        jobs_that_say(tmp_path, ALERTS), channels=read_channels("webhook:nowhere, ticket webhook:chat")
    )
    failed = tell_day(deployment, "2026-11-20", ("--recent",))
    assert [channel.target for channel in failed] == ["nowhere"]
    assert len(web_server.posts) == 1
    common = "-m jobs.notifications --call-date 2026-11-20 --channel"
    assert (tmp_path / "asked").read_text().splitlines() == [
        f"{common} webhook:nowhere --at-least note --recent",
        f"{common} webhook:chat --at-least ticket --recent",
        f"{common} webhook:chat --sent alerts m",
    ]


@pytest.mark.parametrize(("tried", "raises"), [(1, "StepFailed"), (3, "StepFailed"), (4, "AirflowSkipException")])
def test_a_channel_that_fails_never_fails_the_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: int, raises: str
) -> None:
    import notify
    from channels import read_channels

    deployment = dataclasses.replace(jobs_that_say(tmp_path), channels=read_channels("webhook:a, webhook:b"))
    task = notify.Notify(task_id="notify", call_date="2026-11-20", part="night", deployment=deployment)
    monkeypatch.setattr(notify, "tell_day", lambda *_: [deployment.channels[0]])
    with pytest.raises(Exception, match="1 of 2 channels failed") as raised:
        task.execute({"ti": SimpleNamespace(try_number=tried, max_tries=3)})  # type: ignore[typeddict-item]
    assert type(raised.value).__name__ == raises
    monkeypatch.setattr(notify, "tell_day", lambda *_: [])
    task.execute({"ti": SimpleNamespace(try_number=1, max_tries=3)})  # type: ignore[typeddict-item]


def test_rules_that_cannot_be_read_are_a_failed_channel(tmp_path: Path) -> None:
    from channels import read_channels
    from notify import tell_day

    deployment = dataclasses.replace(jobs_that_say(tmp_path), channels=read_channels("webhook:a"))
    Path(deployment.jobs_python).write_text("#!/bin/sh\nexit 2\n")
    assert tell_day(deployment, "2026-11-20") == list(deployment.channels)


def test_one_notification_is_told_without_an_airflow(tmp_path: Path, web_server: Any) -> None:
    said = {"severity": "page", "title": "2026-11-20 is not published", "body": "b"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "dags" / "notify.py")],
        input=json.dumps(said),
        env={**os.environ, "AIRFLOW__CALLMOOD__CHANNELS": "page webhook:chat", "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ((_, post),) = web_server.posts
    assert post["title"] == said["title"]


# Failures


def failed(dag_id: str, task_id: str, given: dict[str, str], error: object, attribute: str = "night") -> Any:
    task = SimpleNamespace(**{attribute: [part for pair in given.items() for part in pair]})
    ti = SimpleNamespace(dag_id=dag_id, task_id=task_id)
    return {"ti": ti, "task": task, "exception": error, "params": {"file": "/srv/ids.txt", "recordings": False}}


COUNTS = {"steps": {"plan_recordings": {"planned": 24, "skipped": 2}}, "reasons": {"truncated": 3, "no_speech": 1}}


@pytest.mark.parametrize(
    ("dag_id", "task_id", "severity", "says"),
    [
        (
            "nightly_emotion_log",
            "classify_emotions",
            "ticket",
            ["nothing of this run", "safe", "make run DATE=2026-11-20"],
        ),
        ("nightly_emotion_log", "validate_tables", "page", ["make run DATE=2026-11-20"]),
        ("nightly_emotion_log", "publish_tables", "page", ["make run DATE=2026-11-20"]),
        ("nightly_emotion_log", "render_report", "ticket", ["are published", "--run-id run-1"]),
        ("enrich_emotion_log", "enrich_day", "ticket", ["stays as it is", "make enrich FROM=2026-11-20 TO=2026-11-20"]),
    ],
)
def test_a_failed_step_is_told_with_counts_reasons_and_one_command(
    tmp_path: Path, dag_id: str, task_id: str, severity: str, says: list[str]
) -> None:
    from failures import failure
    from steps import StepFailed

    deployment = jobs_that_say(tmp_path, COUNTS)
    attribute = "application_args" if task_id == "classify_emotions" else "night"
    said = failure(failed(dag_id, task_id, NIGHT, StepFailed("the store is full"), attribute), deployment)
    assert (said.severity, said.title) == (severity, f"{dag_id} of 2026-11-20 failed at {task_id}")
    lines = said.body.splitlines()
    assert lines[:4] == [
        f"Step: {task_id} of {dag_id}, 2026-11-20, run run-1",
        "Why: the store is full",
        "Counts: plan_recordings: planned 24, skipped 2",
        "First reasons of what was not scored: truncated 3, no_speech 1",
    ]
    assert [line.split(":")[0] for line in lines[4:]] == ["Affected", "Rerun", "Type"]
    assert all(each in said.body for each in says)
    assert "run_counts --call-date 2026-11-20 --run-id run-1" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize(
    ("dag_id", "task_id", "severity", "command"),
    [
        ("erase_persons", "erase", "page", 'airflow dags trigger erase_persons --conf \'{"file": "/srv/ids.txt"'),
        ("enforce_retention", "retention", "ticket", "make retention"),
        ("late_recordings", "find_due_days", "ticket", "airflow dags trigger late_recordings"),
        ("nightly_emotion_log", "start_night", "ticket", "airflow dags trigger nightly_emotion_log"),
        ("watch_model", "watch", "ticket", "airflow dags trigger watch_model"),
    ],
)
def test_a_failure_outside_of_a_run_asks_nothing(
    tmp_path: Path, dag_id: str, task_id: str, severity: str, command: str
) -> None:
    from failures import failure

    said = failure(failed(dag_id, task_id, {}, ValueError("+49 170 1234567")), jobs_that_say(tmp_path))
    assert said.severity == severity
    assert f"Type: {command}" in said.body
    assert "Why: ValueError; the task's log says more" in said.body, "others' messages may quote data"
    assert "Counts" not in said.body
    assert not (tmp_path / "asked").exists()


def test_a_failure_is_told_also_where_its_counts_cannot_be(
    tmp_path: Path, web_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import failures
    from channels import read_channels

    deployment = dataclasses.replace(jobs_that_say(tmp_path), channels=read_channels("page webhook:none, webhook:chat"))
    Path(deployment.jobs_python).write_text("#!/bin/sh\necho the store is away >&2\nexit 75\n")
    monkeypatch.setattr(failures, "read_deployment", lambda: deployment)
    failures.tell_failure(failed("nightly_emotion_log", "extract_features", NIGHT, None))
    ((_, post),) = web_server.posts
    assert "Counts: they cannot be told: jobs.run_counts: the store is away" in post["body"]
    assert post["severity"] == "ticket"


# DAGs


def test_every_task_tells_of_its_failure(dagbag: Any) -> None:
    from failures import tell_failure

    for dag in dagbag.dags.values():
        for task in dag.tasks:
            assert [each.__name__ for each in task.on_failure_callback] == [tell_failure.__name__], task


@pytest.mark.parametrize("dag_id", ["nightly_emotion_log", "enrich_emotion_log"])
def test_where_a_channel_is_set_a_day_is_told_once_it_is_published(
    dag_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("AIRFLOW__CALLMOOD__CHANNELS", "smtp:ops@example.com")
    dag = DagBag(str(ROOT / "dags" / f"{dag_id}.py")).dags[dag_id]
    assert dag.get_task("notify").upstream_task_ids == {"publish_tables"}
    assert dag.get_task("send_report").upstream_task_ids == {"render_report"}
    assert dag.get_task("notify").downstream_task_ids == set()
    day = dag.get_task("publish_tables").night[1]
    assert dag.get_task("notify").call_date == dag.get_task("send_report").call_date == day


def test_drift_is_told_once_over_every_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from channels import Notification

    monkeypatch.setenv("AIRFLOW__CALLMOOD__CHANNELS", "smtp:ops@example.com")
    task = DagBag(str(ROOT / "dags" / "watch_model.py")).dags["watch_model"].get_task("tell_drift")
    assert not task.upstream_task_ids and not task.downstream_task_ids
    module = sys.modules[task.python_callable.__module__]
    ticket = {"severity": "ticket", "title": "t", "body": "b"}
    monkeypatch.setattr(
        module,
        "DEPLOYMENT",
        dataclasses.replace(module.DEPLOYMENT, jobs_python=jobs_that_say(tmp_path, ticket).jobs_python),
    )
    told: list[object] = []
    monkeypatch.setattr(module, "tell", lambda _, said: told.append(said) or [])
    task.python_callable()
    assert told == [Notification("ticket", "t", "b")]
    assert (tmp_path / "asked").read_text() == "-m jobs.watch_model --drift\n"
    # Another try would say it again over the channels that work.
    monkeypatch.setattr(module, "tell", lambda *_: ["a channel"])
    with pytest.raises(Exception, match="1 of 1 channels failed") as raised:
        task.python_callable()
    assert type(raised.value).__name__ == "AirflowSkipException"


# The heartbeat


def test_the_heartbeat_tells_with_no_airflow_running(tmp_path: Path, web_server: Any) -> None:
    """No scheduler, no database, no Airflow home: the alarm comes all the same."""
    places = {name: str(tmp_path / name.lower()) for name in ("STAGING", "WAREHOUSE", "REPORTS")}
    done = subprocess.run(
        [str(ROOT / ".venv/jobs/bin/python"), "-m", "infra.heartbeat", "--airflow-python", sys.executable],
        cwd=ROOT,
        env={
            **os.environ,
            **{f"CALLMOOD_{name}": place for name, place in places.items()},
            "CALLMOOD_RECORDINGS": "s3://recordings",
            "AIRFLOW__CALLMOOD__CHANNELS": "page webhook:chat",
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "is not published by 06:00" in done.stderr
    ((_, post),) = web_server.posts
    assert post["severity"] == "page"
    assert "Nothing was ever published." in post["body"]
    assert "Type: make run DATE=" in post["body"]
