"""An S3 server on this machine for the demo and the tests: moto, in a process of its own, on loopback only.

It keeps nothing on disk and checks no signature: nothing but a demo or a test may use it. The server lives as long
as the pipe from its parent is open, so it ends with the parent however that ends, SIGKILL included.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import boto3
from botocore.config import Config

from infra.demo.errors import DemoError, LocalS3Error

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_HOST = "127.0.0.1"
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class LocalS3:
    """A running local S3: where it is, and throw-away credentials."""

    endpoint_url: str
    access_key: str = field(default_factory=lambda: secrets.token_hex(10))
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    region: str = "us-east-1"

    def client(self) -> S3Client:
        """Make a boto3 client of this server, whatever the environment says about AWS or proxies."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(retries={"mode": "standard", "max_attempts": 5}, proxies={}),
        )


@contextmanager
def local_s3(log_file: Path, buckets: Sequence[str] = ("recordings",)) -> Iterator[LocalS3]:
    """Run a local S3 server with empty buckets; stop it at the end of the block.

    Parameters
    ----------
    log_file
        Where the server's output goes; its folder is made.
    buckets
        Names of the buckets to create.

    Raises
    ------
    LocalS3Error
        The server ended, or did not answer, within a minute.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    root = Path(__file__).parents[2]
    with log_file.open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "infra.demo.local_s3", "--port", "0", "--until-stdin-closes"],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # a Ctrl-C is for the parent, which still needs the server to end its work
        )
    try:
        s3 = LocalS3(_endpoint_url(server, log_file))
        client = s3.client()
        for bucket in buckets:
            client.create_bucket(Bucket=bucket)
        yield s3
    finally:
        _stop(server)


def _endpoint_url(server: subprocess.Popen[bytes], log_file: Path) -> str:
    """Wait for the address, the one line that the server prints once it listens."""
    assert server.stdout is not None  # noqa: S101 (a pipe was asked for)
    readable, _, _ = select.select([server.stdout], [], [], _START_TIMEOUT_S)
    if not readable:
        raise LocalS3Error(f"the local S3 did not answer within {_START_TIMEOUT_S:.0f} s: see {log_file}")
    address = server.stdout.readline().decode().strip()
    if not address:
        raise LocalS3Error(f"the local S3 ended before it answered: see {log_file}")
    return address


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    for pipe in (server.stdin, server.stdout):
        if pipe is not None:
            pipe.close()


def upload_folder(
    s3: LocalS3,
    folder: Path,
    bucket: str,
    on_progress: Callable[[int, int], None] | None = None,
    ignore: Collection[str] = ("contacts.jsonl", "topics.jsonl", "truth.jsonl"),
    n_threads: int = 4,
) -> int:
    """Upload every file of a folder, its relative path as the key.

    Parameters
    ----------
    s3, folder, bucket
        From where to where.
    on_progress
        Called with the number of files uploaded and of all files.
    ignore
        File names to leave out. Hidden files, and files in hidden folders, always are.
    n_threads
        How many uploads run at once.

    Returns
    -------
    int
        How many files were uploaded.

    Raises
    ------
    LocalS3Error
        The folder does not exist.
    botocore.exceptions.ClientError
        An upload failed.
    """
    if not folder.is_dir():
        raise LocalS3Error(f"{folder} is no folder: name the one that holds the recordings")
    keys = {path: path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()}
    wanted = {
        path: key.as_posix()
        for path, key in keys.items()
        if path.name not in ignore and not any(part.startswith(".") for part in key.parts)
    }
    client = s3.client()
    with ThreadPoolExecutor(n_threads) as pool:
        uploads = [pool.submit(client.upload_file, str(path), bucket, key) for path, key in wanted.items()]
        try:
            for done, upload in enumerate(as_completed(uploads), start=1):
                upload.result()
                if on_progress:
                    on_progress(done, len(uploads))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return len(uploads)


def _end_with_stdin() -> None:
    """End this process at the end of its standard input: the parent closed it, or is gone."""
    while os.read(0, 1):
        pass
    os._exit(0)


def serve(port: int, until_stdin_closes: bool) -> NoReturn:
    """Serve S3 on a loopback port (0: a free one) until interrupted; print the address once it listens."""
    try:
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer
    except ModuleNotFoundError as error:
        raise LocalS3Error(
            f"moto's server is not installed ({error.name} is missing): run 'make setup', or install the "
            "dependency group 's3' of pyproject.toml into the jobs' environment"
        ) from error
    if until_stdin_closes:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else a line a request, with the key of a call
    server = ThreadedMotoServer(_HOST, port, verbose=False)
    server.start()
    host, bound_port = server.get_host_and_port()
    sys.stdout.write(f"http://{host}:{bound_port}\n")
    sys.stdout.flush()
    while True:
        time.sleep(3600)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a local S3 in the foreground."""
    parser = argparse.ArgumentParser(prog="python -m infra.demo.local_s3", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one (default)")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input does")
    options = parser.parse_args(arguments)
    try:
        serve(options.port, options.until_stdin_closes)
    except DemoError as error:
        parser.exit(2, f"local S3: {error}\n")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
