"""The local stack's S3 server: it keeps what it is given, to whoever signs for it, and ends with all its processes."""

from __future__ import annotations

import configparser
import os
import re
import secrets
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from infra.demo.local_s3 import LocalS3
from jobs import storage as storing
from jobs.errors import StorageAccessDenied
from jobs.staging import RunStaging
from jobs.storage import S3Storage
from jobs.warehouse import Warehouse
from schemas import TABLES

S3_PYTHON = Path(__file__).resolve().parents[2] / ".venv" / "s3-server" / "bin" / "python"

ROOT = Path(__file__).resolve().parents[2]
KEY = "CallRecordings/2026/11/20/0dc59f62_20261120T08:04_UTC.wav"

pytestmark = [
    pytest.mark.s3,
    pytest.mark.skipif(not S3_PYTHON.exists(), reason="needs the server: bash infra/setup.sh s3-server"),
]


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[str]
    s3: LocalS3


def _start(data: Path, *options: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [str(S3_PYTHON), "-m", "infra.s3", "--data", str(data), *options]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _children(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@contextmanager
def _running(data: Path) -> Iterator[Running]:
    process = _start(data)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        found = re.match(r"S3 server ready at (http://127\.0\.0\.1:\d+), ", ready)
        assert found, ready
        profile = configparser.ConfigParser()
        profile.read(data / "credentials")
        keys = profile["default"]
        yield Running(process, LocalS3(found[1], keys["aws_access_key_id"], keys["aws_secret_access_key"]))
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "s3"


@pytest.fixture(scope="module")
def running(data: Path) -> Iterator[Running]:
    with _running(data) as server:
        server.s3.client().create_bucket(Bucket="recordings")
        yield server


def _refused(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_only_who_signs_with_the_secret_is_answered(running: Running) -> None:
    stranger = LocalS3(running.s3.endpoint_url, running.s3.access_key, secrets.token_hex(20))
    with pytest.raises(ClientError) as error:
        stranger.client().list_objects_v2(Bucket="recordings")
    assert _refused(error) == "SignatureDoesNotMatch"


def test_an_object_is_not_written_twice_where_the_writer_asks_so(running: Running) -> None:
    client = running.s3.client()
    client.put_object(Bucket="recordings", Key="lock", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        client.put_object(Bucket="recordings", Key="lock", Body=b"second", IfNoneMatch="*")
    assert _refused(error) == "PreconditionFailed"
    assert client.get_object(Bucket="recordings", Key="lock")["Body"].read() == b"first"


def test_what_it_keeps_is_its_users_alone(running: Running, data: Path) -> None:
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for file in (data / "credentials", data / "config" / "proxy-server.conf", data / "config" / "swift.conf"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_folder_has_one_server(running: Running, data: Path) -> None:
    other = _start(data)
    _, said = other.communicate(timeout=60)
    assert other.returncode == 1
    assert said == f"S3 server: {data} is served by another process: stop that one, or name another folder\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_it_ends_with_its_processes_and_objects_outlast_it(tmp_path: Path, how: signal.Signals) -> None:
    with _running(tmp_path / "s3") as first:
        client = first.s3.client()
        client.create_bucket(Bucket="recordings")
        client.put_object(Bucket="recordings", Key=KEY, Body=b"RIFF")
        servers = _children(first.process)
        assert len(servers) == 4
        os.kill(first.process.pid, how)
        assert first.process.wait(30) == 0
    assert not [pid for pid in servers if Path(f"/proc/{pid}").exists()]
    with _running(tmp_path / "s3") as second:
        assert (second.s3.access_key, second.s3.secret_key) == (first.s3.access_key, first.s3.secret_key)
        listed = second.s3.client().list_objects_v2(Bucket="recordings", Prefix="CallRecordings/")
        assert [found["Key"] for found in listed["Contents"]] == [KEY]


def test_one_of_its_processes_gone_ends_it(tmp_path: Path) -> None:
    with _running(tmp_path / "s3") as server:
        servers = _children(server.process)
        os.kill(servers[0], signal.SIGKILL)
        _, said = server.process.communicate(timeout=30)
        assert server.process.returncode == 1
        assert "the account server ended with status -9" in said
    assert not [pid for pid in servers if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize(
    ("access_key", "secret_key"),
    [("", ""), ("callmood:jobs", ""), ("nocolon", "secret"), (":jobs", "secret"), ("a:b", "two words")],
)
def test_credentials_that_are_none_are_refused(tmp_path: Path, access_key: str, secret_key: str) -> None:
    given = {**os.environ, "AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    process = _start(tmp_path, "--credentials-from-environment", environment=given)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "expected AWS_ACCESS_KEY_ID of the form account:user" in said


def test_a_wrong_signature_is_called_so_whoever_asks(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3, deltalake and pyarrow each sign by themselves."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", running.s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    storing._session.cache_clear()
    try:
        place = S3Storage("s3://recordings/warehouse", running.s3.endpoint_url, running.s3.region)
        staging = RunStaging(place, date(2026, 11, 20), "run-1")
        asked: list[Callable[[], object]] = [
            lambda: place.read("a"),
            lambda: Warehouse(place).snapshot(),
            lambda: staging.write_table(TABLES["calls"], TABLES["calls"].empty()),
        ]
        for ask in asked:
            with pytest.raises(StorageAccessDenied, match="answers SignatureDoesNotMatch"):
                ask()
    finally:
        storing._session.cache_clear()
