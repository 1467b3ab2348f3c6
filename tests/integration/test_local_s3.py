"""The local S3 server: it serves, on loopback only, and is gone when its block or its parent is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest

pytest.importorskip("moto", reason="the local S3 is a dependency group of its own")

import infra.demo.local_s3 as module
from infra.demo.errors import LocalS3Error
from infra.demo.local_s3 import LocalS3, local_s3, upload_folder

pytestmark = pytest.mark.s3

ROOT = Path(__file__).resolve().parents[2]
KEY = "CallRecordings/2026/11/20/0dc59f62_20261120T08:04_UTC.wav"


def _answers(endpoint_url: str) -> bool:
    try:
        build_opener(ProxyHandler({})).open(endpoint_url, timeout=5)
    except HTTPError:
        return True
    except OSError:  # refused, or reset while it ends
        return False
    return True


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return condition()


def test_objects_come_back_also_under_a_key_with_a_colon(s3: LocalS3) -> None:
    client = s3.client()
    client.create_bucket(Bucket="colon")
    client.put_object(Bucket="colon", Key=KEY, Body=b"RIFF")
    listed = client.list_objects_v2(Bucket="colon", Prefix="CallRecordings/2026/11/20/")
    assert [found["Key"] for found in listed["Contents"]] == [KEY]
    assert client.get_object(Bucket="colon", Key=KEY)["Body"].read() == b"RIFF"


def test_a_folder_is_uploaded_under_its_relative_paths(s3: LocalS3, tmp_path: Path) -> None:
    contents = {KEY: b"one", "other/2%3A0.wav": b"two", "contacts.jsonl": b"{}", "truth.jsonl": b"{}", ".stamp": b"x"}
    contents[".cache/a.wav"] = b"x"
    for name, body in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(body)
    client = s3.client()
    client.create_bucket(Bucket="uploaded")
    seen: list[tuple[int, int]] = []

    n_uploaded = upload_folder(s3, tmp_path, "uploaded", lambda done, total: seen.append((done, total)))

    assert n_uploaded == 2
    assert seen == [(1, 2), (2, 2)]
    listed = {found["Key"] for found in client.list_objects_v2(Bucket="uploaded")["Contents"]}
    assert listed == {KEY, "other/2%3A0.wav"}
    assert client.get_object(Bucket="uploaded", Key=KEY)["Body"].read() == b"one"


def test_a_folder_that_is_not_there_is_an_error(s3: LocalS3, tmp_path: Path) -> None:
    with pytest.raises(LocalS3Error, match="no folder"):
        upload_folder(s3, tmp_path / "nowhere", "uploaded")


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's table of sockets")
def test_it_listens_on_loopback_only(s3: LocalS3) -> None:
    port = int(s3.endpoint_url.rpartition(":")[2])
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if Path(table).exists()
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    assert listening == [f"0100007F:{port:04X}"]  # 127.0.0.1, least significant byte first


def test_it_is_gone_after_an_error_in_its_block_and_its_credentials_were_its_own(s3: LocalS3, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), local_s3(tmp_path / "logs" / "s3.log") as other:
        assert _answers(other.endpoint_url)
        assert [bucket["Name"] for bucket in other.client().list_buckets()["Buckets"]] == ["recordings"]
        assert other.endpoint_url != s3.endpoint_url
        assert other.access_key != s3.access_key
        assert other.secret_key not in repr(other)
        raise ZeroDivisionError
    assert not _answers(other.endpoint_url)
    assert (tmp_path / "logs" / "s3.log").is_file()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_it_is_gone_when_its_parent_is(tmp_path: Path, how: signal.Signals) -> None:
    script = f"""
        import time
        from pathlib import Path
        from infra.demo.local_s3 import local_s3
        with local_s3(Path({str(tmp_path / "s3.log")!r})) as s3:
            print(s3.endpoint_url, flush=True)
            time.sleep(300)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        endpoint_url = parent.stdout.readline().decode().strip()
        assert _answers(endpoint_url)
        os.kill(parent.pid, how)
        parent.wait(30)
    assert _within(10, lambda: not _answers(endpoint_url))


def test_a_server_that_cannot_start_is_an_error_that_names_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.sys, "executable", "/bin/false")
    with pytest.raises(LocalS3Error, match=r"ended before it answered: see .*s3\.log"), local_s3(tmp_path / "s3.log"):
        pass
