"""Starts the dashboard on this machine's loopback: ``python -m reporting.dashboard [--out FOLDER] [--port N]``.

The process becomes Streamlit's: Ctrl-C ends it. Its configuration is in ``.streamlit/config.toml`` beside this file.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.errors import JobError
from reporting.dashboard.places import Places, add_arguments

HERE = Path(__file__).resolve().parent
FIRST_PORT, TRIED_PORTS = 8501, 50


def main(argv: Sequence[str] | None = None) -> int:
    """Check the places, choose a port, and become Streamlit's process; the exit status where that cannot be."""
    arguments = parser()
    given = arguments.parse_args(argv)
    if given.out is not None and not Path(given.out).expanduser().is_dir():
        arguments.error(f"--out: {given.out} is no folder; expected what make demo wrote")
    places = places_of(given)
    try:
        Places.of(places)
        port = given.port or free_port()
    except (JobError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    print(f"Dashboard: http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    streamlit = [sys.executable, "-m", "streamlit", "run", str(HERE / "app.py"), "--server.port", str(port)]
    os.execv(sys.executable, [*streamlit, "--", *places])  # noqa: S606 - an argument list, no shell
    return 0


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(
        prog="python -m reporting.dashboard", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--out", metavar="FOLDER", help="the output folder of make demo: its tables and sample calls")
    made.add_argument("--port", type=port_number, help=f"default: the first free one from {FIRST_PORT} on")
    add_arguments(made)
    return made


def port_number(text: str) -> int:
    """A port that one can listen on."""
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected a number from 1 to 65535")
    return int(text)


def places_of(given: argparse.Namespace) -> list[str]:
    """The arguments that `Places.of` reads: those given, and what a demo's folder holds."""
    warehouse, recordings = given.warehouse, list(given.recordings)
    if given.out is not None:
        out = Path(given.out).expanduser().absolute()
        warehouse = warehouse or str(out / "warehouse")
        # A folder a day, each with the keys of the day.
        recordings = recordings or [str(day) for day in sorted((out / "sample_calls").glob("*")) if day.is_dir()]
    found = [] if warehouse is None else ["--warehouse", warehouse]
    for folder in recordings:
        found += ["--recordings", folder]
    return [*found, "--model", given.model] if given.model else found


def free_port() -> int:
    """The first port of this machine's loopback from `FIRST_PORT` on that nobody listens on.

    Raises
    ------
    OSError
        Where `TRIED_PORTS` in a row are taken.
    """
    for port in range(FIRST_PORT, FIRST_PORT + TRIED_PORTS):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"ports {FIRST_PORT} to {FIRST_PORT + TRIED_PORTS - 1} are all taken; name a free one: PORT=9000")


if __name__ == "__main__":
    sys.exit(main())
