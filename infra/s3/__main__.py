"""``python -m infra.s3 --data FOLDER --port P``: serves S3 from a folder, in the foreground, until it is told to end.

OpenStack Swift with its s3api and one device: four processes, whose rings, configuration and credentials are made in
the folder when the server is first started. It checks signatures and keeps everything on disk, unlike the demo's server
(``infra.demo.local_s3``). It runs in an environment of its own (``requirements/s3-server.txt``) and imports nothing of
the project. One copy of every object, no replication: it is not a store to keep the only copy of recordings in.

Once it answers it prints one line that begins with "S3 server ready". ``GET /healthcheck`` answers while it serves.
"""

from __future__ import annotations

import argparse
import configparser
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

HOST = "127.0.0.1"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.5
ACCOUNT = "callmood"
DEVICE = "disk"
PART_POWER = 4
"""Where an object's file lies depends on it: it must never change for a folder that holds objects."""
BACKENDS = ("account", "container", "object")
ENVIRONMENT = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

BACKEND_CONF = """\
[DEFAULT]
swift_dir = {config}
devices = {devices}
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
mount_check = false
disable_fallocate = true
log_level = WARNING

[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
# A line a request would hold the keys of recordings.
log_requests = false
"""

# A request may wait for a busy machine; and with one device there is no other to turn to after errors.
PROXY_CONF = """\
[DEFAULT]
swift_dir = {config}
bind_ip = {host}
bind_port = {port}
workers = 0
log_level = WARNING

[pipeline:main]
pipeline = catch_errors healthcheck s3api tempauth bulk slo proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
conn_timeout = 10
node_timeout = 60
error_suppression_limit = 1000000

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:healthcheck]
use = egg:swift#healthcheck

[filter:s3api]
use = egg:swift#s3api
location = us-east-1

[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {secret} .admin

[filter:bulk]
use = egg:swift#bulk

[filter:slo]
use = egg:swift#slo
"""


class ServerFailed(Exception):
    """The server cannot start or go on; the message is one line for whoever started it."""


@dataclass(frozen=True)
class Credentials:
    """What a request must be signed with.

    Attributes
    ----------
    access_key
        ``account:user``.
    secret_key
        The secret.
    """

    access_key: str
    secret_key: str


def credentials_file(data: Path) -> Path:
    """Where the credentials are, as AWS's own tools read them (``AWS_SHARED_CREDENTIALS_FILE``)."""
    return data / "credentials"


def read_or_make_credentials(data: Path) -> Credentials:
    """The folder's credentials; random ones, readable by nobody else, where it has none yet.

    Raises
    ------
    ServerFailed
        The file is there and is no file of credentials.
    """
    file = credentials_file(data)
    profile = configparser.ConfigParser(interpolation=None)
    if not file.exists():
        profile["default"] = {
            "aws_access_key_id": f"{ACCOUNT}:{secrets.token_hex(8)}",
            "aws_secret_access_key": secrets.token_hex(20),
        }
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
            profile.write(made)
    try:
        profile.read(file)
        found = profile["default"]
        return Credentials(found["aws_access_key_id"], found["aws_secret_access_key"])
    except (configparser.Error, KeyError) as error:
        raise ServerFailed(
            f"{file} is no file of credentials ({error!r}); expected the profile [default] with aws_access_key_id and "
            "aws_secret_access_key: delete it, and the next start makes new ones"
        ) from error


def given_credentials(environment: Mapping[str, str]) -> Credentials:
    """The credentials in AWS's two variables.

    Raises
    ------
    ServerFailed
        One is not set, or the access key is not of the form that Swift takes.
    """
    access_key, secret_key = (environment.get(name, "") for name in ENVIRONMENT)
    account, _, user = access_key.partition(":")
    if not secret_key or not account.isalnum() or not user.isalnum() or len(secret_key.split()) != 1:
        raise ServerFailed(
            "expected AWS_ACCESS_KEY_ID of the form account:user, letters and digits, and AWS_SECRET_ACCESS_KEY "
            "without blanks"
        )
    return Credentials(access_key, secret_key)


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with closing(socket.socket()) as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def prepare(data: Path, host: str, port: int, credentials: Credentials) -> dict[str, Path]:
    """Write rings and configuration for a start; returns each server's configuration file, the proxy last.

    The ports of the three servers behind the proxy are free ones, new with every start: objects are found by the
    device's name and by the hash's secret suffix, which stay.
    """
    config, devices = data / "config", data / "devices"
    (devices / DEVICE).mkdir(parents=True, exist_ok=True)
    config.mkdir(exist_ok=True)
    try:
        os.setxattr(devices / DEVICE, "user.callmood", b"1")
    except OSError as error:
        raise ServerFailed(
            f"{data} is on a file system without extended attributes ({error.strerror}), in which Swift keeps what "
            "it knows of an object: name a folder on ext4 or xfs"
        ) from error
    swift_conf = config / "swift.conf"
    if not swift_conf.exists():
        swift_conf.write_text(f"[swift-hash]\nswift_hash_path_suffix = {secrets.token_hex(16)}\n", encoding="utf-8")
    files = {}
    for kind in BACKENDS:
        backend_port = free_port()
        _write_ring(config / f"{kind}.ring.gz", backend_port)
        files[kind] = config / f"{kind}-server.conf"
        written = BACKEND_CONF.format(config=config, devices=devices, port=backend_port, kind=kind)
        files[kind].write_text(written, encoding="utf-8")
    account, _, user = credentials.access_key.partition(":")
    files["proxy"] = config / "proxy-server.conf"
    files["proxy"].write_text(
        PROXY_CONF.format(
            config=config, host=host, port=port, account=account, user=user, secret=credentials.secret_key
        ),
        encoding="utf-8",
    )
    return files


def _write_ring(file: Path, port: int) -> None:
    from swift.common.ring import RingBuilder

    builder = RingBuilder(part_power=PART_POWER, replicas=1, min_part_hours=0)
    builder.add_dev(
        {"region": 1, "zone": 1, "weight": 1.0, "ip": HOST, "port": port, "device": DEVICE, "meta": ""}
        | {"replication_ip": HOST, "replication_port": port}
    )
    builder.rebalance(seed=0)
    builder.get_ring().save(str(file))


def serve(data: Path, host: str, port: int, credentials: Credentials) -> None:
    """Serve until told to end; every process that it started is gone when this returns or raises.

    Raises
    ------
    ServerFailed
        The folder is in use, or one of the servers did not come up or ended.
    """
    with ExitStack() as held:
        lock = held.enter_context((data / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerFailed(f"{data} is served by another process: stop that one, or name another folder") from None
        files = prepare(data, host, port, credentials)
        servers = {}
        for kind, file in files.items():
            # The commands lie beside the interpreter of the environment that Swift is installed in.
            command = [
                sys.executable,
                str(Path(sys.executable).parent / f"swift-{kind}-server"),
                str(file),
                "--verbose",
            ]
            servers[kind] = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            held.callback(_stop, servers[kind])
        deadline = time.monotonic() + START_TIMEOUT_S
        while not all(_listens(file) for file in files.values()):
            _check(servers)
            if time.monotonic() > deadline:
                raise ServerFailed(f"no answer within {START_TIMEOUT_S:.0f} s; the lines above say why")
            time.sleep(POLL_S)
        sys.stdout.write(f"S3 server ready at http://{host}:{port}, data in {data}\n")
        sys.stdout.flush()
        while True:
            _check(servers)
            time.sleep(POLL_S)


def _listens(file: Path) -> bool:
    conf = configparser.ConfigParser(interpolation=None)
    conf.read(file)
    try:
        # Whoever listens on all addresses listens on loopback, too.
        socket.create_connection((HOST, conf.getint("DEFAULT", "bind_port")), timeout=1).close()
    except OSError:
        return False
    return True


def _check(servers: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for kind, server in servers.items():
        if server.poll() is not None:
            raise ServerFailed(f"the {kind} server ended with status {server.returncode}; the lines above say why")


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is signal's
    # A second signal must not cut the unwinding short.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve in the foreground; the exit status is 0 where it was told to end."""
    parser = argparse.ArgumentParser(prog="python -m infra.s3", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of all that is kept; made if missing")
    parser.add_argument("--port", type=int, default=0, help="the port; 0 takes a free one (default)")
    parser.add_argument(
        "--host", default=HOST, help="the address to listen on (default: 127.0.0.1; in a container 0.0.0.0)"
    )
    parser.add_argument(
        "--credentials-from-environment",
        action="store_true",
        help="take AWS_ACCESS_KEY_ID (account:user) and AWS_SECRET_ACCESS_KEY instead of FOLDER/credentials",
    )
    options = parser.parse_args(arguments)
    if not 0 <= options.port < 65_536:
        parser.error(f"--port: {options.port} is no port; expected a number up to 65535")
    os.umask(0o077)
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, _end)
    data: Path = options.data.absolute()
    try:
        data.mkdir(parents=True, exist_ok=True)
        credentials = (
            given_credentials(os.environ) if options.credentials_from_environment else read_or_make_credentials(data)
        )
        serve(data, options.host, options.port or free_port(), credentials)
    except (ServerFailed, OSError) as error:
        parser.exit(1, f"S3 server: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
