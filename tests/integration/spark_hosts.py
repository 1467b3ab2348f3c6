"""Spark clusters of a master and workers: on hosts of their own, or on this one.

The hosts are network namespaces on a bridge, which need root. What Spark reports is kept in the folder that a cluster
is given.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from jobs.settings import ROOT

SPARK_CLASS = ROOT / "infra" / "spark" / "bin" / "spark-class"
IP = shutil.which("ip")
BRIDGE = "callmood0"
NETWORK = "10.199.7"
HERE = f"{NETWORK}.1"
LOOPBACK = "127.0.0.1"
WORKERS = (2, 3)
START_S = 120.0


def can_be_made() -> bool:
    """Whether this machine lets us make hosts."""
    if IP is None or os.geteuid() != 0:
        return False
    with suppress(subprocess.CalledProcessError):
        _ip(f"link add {BRIDGE} type bridge")
        _ip(f"link del {BRIDGE}")
        return True
    return False


@contextmanager
def two_hosts(folder: Path) -> Iterator[str]:
    """Start the cluster, yield the master's address, and end it; logs and the workers' files lie in the folder."""
    with ExitStack() as ends:
        _ip(f"link add {BRIDGE} type bridge")
        ends.callback(_ip, f"link del {BRIDGE}")
        _ip(f"addr add {HERE}/24 dev {BRIDGE}")
        _ip(f"link set {BRIDGE} up")
        with socket.create_server((HERE, 0)) as probe:
            master = f"spark://{HERE}:{probe.getsockname()[1]}"
        port = master.rpartition(":")[2]
        _start(ends, folder / "master", HERE, "master.Master", "--port", port, "--webui-port", "0")
        for number in WORKERS:
            name, address = f"callmood{number}", f"{NETWORK}.{number}"
            _ip(f"netns add {name}")
            ends.callback(_ip, f"netns del {name}")
            _ip(f"link add {name} type veth peer name eth0 netns {name}")
            _ip(f"link set {name} master {BRIDGE} up")
            for command in (f"addr add {address}/24 dev eth0", "link set eth0 up", "link set lo up"):
                _ip(f"-n {name} {command}")
            work = folder / name
            options = ("-c", "1", "-m", "1g", "--webui-port", "0", "--work-dir", str(work / "work"), master)
            _start(ends, work, address, "worker.Worker", *options, within=(str(IP), "netns", "exec", name))
        _wait(folder / "master" / "log", "Registering worker", len(WORKERS))
        yield master


@contextmanager
def on_this_host(folder: Path, cores: Collection[int], variables: Mapping[str, str]) -> Iterator[str]:
    """Start a master and a worker for each core, kept on it; yield the master's address, and end them.

    ``variables`` are the workers' environment, which their tasks have too.
    """
    folder.mkdir(parents=True)
    with ExitStack() as ends:
        with socket.create_server((LOOPBACK, 0)) as probe:
            port = str(probe.getsockname()[1])
        master = f"spark://{LOOPBACK}:{port}"
        _start(ends, folder / "master", LOOPBACK, "master.Master", "--port", port, "--webui-port", "0")
        for core in cores:
            work = folder / f"worker{core}"
            options = ("-c", "1", "-m", "1g", "--webui-port", "0", "--work-dir", str(work / "work"), master)
            on_core = ("taskset", "--cpu-list", str(core))
            _start(ends, work, LOOPBACK, "worker.Worker", *options, within=on_core, variables=variables)
        _wait(folder / "master" / "log", "Registering worker", len(cores))
        yield master


def _ip(command: str) -> None:
    assert IP is not None
    subprocess.run([IP, *command.split()], check=True, capture_output=True, text=True)


def _start(
    ends: ExitStack,
    folder: Path,
    host: str,
    kind: str,
    *options: str,
    within: tuple[str, ...] = (),
    variables: Mapping[str, str] = os.environ,
) -> None:
    folder.mkdir()
    # What Spark reports stands at INFO, which the jobs' own logging leaves out.
    environment = {**variables, "SPARK_LOCAL_IP": host, "SPARK_CONF_DIR": str(folder)}
    log = ends.enter_context((folder / "log").open("w"))
    process = subprocess.Popen(
        [*within, str(SPARK_CLASS), f"org.apache.spark.deploy.{kind}", "--host", host, *options],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    ends.callback(process.wait, 30)
    ends.callback(process.terminate)


def _wait(log: Path, said: str, times: int) -> None:
    deadline = time.monotonic() + START_S
    while True:
        text = ""
        with suppress(OSError):
            text = log.read_text()
        if text.count(said) >= times:
            return
        assert time.monotonic() < deadline, text[-2000:]
        time.sleep(0.5)
