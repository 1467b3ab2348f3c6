"""``make soak RECORDINGS=50000``: one night of that many short calls through the real steps, of which 2% are bad.

Looks whether every recording is accounted for with the outcome that it has to have, and whether memory stays flat:
every second, that of each step's own process, of its JVM, and of the largest of its Python workers. Prints a table, and
exits with 1 where a recording is missing or misjudged, or memory grew.

The store is one of its own, which makes what it is asked for from a few recordings: 50,000 of 20 s and more would be
16 GB. What it costs a real store is not looked at here.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

from infra.demo.local_s3 import LocalS3
from infra.demo.sample_calls import make_sample_calls
from jobs.settings import ROOT
from jobs.staging import STEPS
from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse
from ser_model.classifier import ModelCard
from ser_model.errors import NoSpeech
from ser_model.recording import SegmentExtractor
from tests.benchmarks.recordings import DAY, RATE_HZ, key, read_calls
from tests.benchmarks.steps import BUCKET, environment

MODEL = ROOT / "ser_model" / "models" / "research"
BAD_EVERY = 50
GOOD_S = (20, 24, 31, 45)
PAGE = 1000
SHORT_S = 600
GREW_MB = 50.0
"""What a process may hold more in the last quarter of a step than in the second."""


@dataclass(frozen=True)
class Body:
    """An object's bytes, and what has to become of a recording that has them."""

    content: bytes
    outcome: str

    @property
    def etag(self) -> str:
        """As S3 has it, of an object that was put in one piece."""
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()


def bodies(calls: Path) -> tuple[list[Body], list[Body]]:
    """The good recordings and the bad ones, each to be used again and again."""
    sounds = read_calls(calls)
    lengths = (GOOD_S[number % len(GOOD_S)] for number in range(len(sounds)))
    cut = (_wav(np.resize(sound, (seconds * RATE_HZ, 2))) for sound, seconds in zip(sounds, lengths, strict=True))
    # Among the sample calls are some of music alone.
    extractor = SegmentExtractor(ModelCard.load(MODEL).feature_spec, {"customer"})
    good = [Body(content, "scored") for content in cut if _has_speech(content, extractor)]
    whole = good[0].content
    silence = np.zeros((20 * RATE_HZ, 2), dtype=np.int16)
    bad = [
        Body(b"", "quarantined: empty"),
        Body(whole[: len(whole) // 2], "quarantined: truncated"),
        Body(b"<html>this is no recording</html>" * 100, "quarantined: not_audio"),
        Body(_wav(silence), "quarantined: no_speech"),
        Body(_wav(sounds[0][: 20 * RATE_HZ, :1]), "skipped: mono_not_separable"),
    ]
    return good, bad


def _has_speech(content: bytes, extractor: SegmentExtractor) -> bool:
    try:
        return bool(extractor([io.BytesIO(content)]).segments)
    except NoSpeech:
        return False


def _wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, subtype="ULAW", format="WAV")
    return file.getvalue()


@contextmanager
def store(objects: Mapping[str, Body]) -> Iterator[str]:
    """Serve these objects as S3 would, to whoever lists and gets; the server's address."""
    keys = sorted(objects)

    class Objects(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            query = parse_qs(asked.query)
            if "list-type" in query:
                content, etag = _page(keys, objects, query), None
            else:
                body = objects[unquote(asked.path).removeprefix(f"/{BUCKET}/")]
                content, etag = body.content, body.etag
            self.send_response(200)
            self.send_header("Content-Type", "application/xml" if etag is None else "audio/wav")
            self.send_header("Content-Length", str(len(content)))
            if etag is not None:
                self.send_header("ETag", f'"{etag}"')
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Objects) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _page(keys: Sequence[str], objects: Mapping[str, Body], query: Mapping[str, Sequence[str]]) -> bytes:
    prefix = query.get("prefix", [""])[0]
    start = int(query.get("continuation-token", [str(bisect_left(keys, prefix))])[0])
    part = [each for each in keys[start : start + PAGE] if each.startswith(prefix)]
    more = len(part) == PAGE and start + PAGE < len(keys)
    listed = "".join(
        f"<Contents><Key>{each}</Key><LastModified>2026-11-21T00:10:00.000Z</LastModified>"
        f"<ETag>&quot;{objects[each].etag}&quot;</ETag><Size>{len(objects[each].content)}</Size></Contents>"
        for each in part
    )
    token = f"<NextContinuationToken>{start + PAGE}</NextContinuationToken>" if more else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><KeyCount>{len(part)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{listed}</ListBucketResult>"
    ).encode()


@dataclass
class Memory:
    """What the processes of a step held, in MB, a second at a time: its own, its JVM, its largest Python worker."""

    driver: list[float] = field(default_factory=list)
    jvm: list[float] = field(default_factory=list)
    worker: list[float] = field(default_factory=list)

    def look(self, step: int) -> None:
        """Look at the step's process and at all that it started."""
        held: dict[str, list[float]] = {"driver": [], "jvm": [], "worker": []}
        for process, name in _family(step):
            kind = "driver" if process == step else "jvm" if name == "java" else "worker"
            held[kind].append(_resident_mb(process))
        for kind, found in held.items():
            getattr(self, kind).append(max(found, default=0.0))


def _family(step: int) -> Iterator[tuple[int, str]]:
    """The process and those below it, with their names."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            begin, _, end = stat.read_text().rpartition(")")
        except OSError:  # it is gone
            continue
        process = int(stat.parent.name)
        names[process] = begin.partition("(")[2]
        children.setdefault(int(end.split()[1]), []).append(process)
    waiting = [step]
    while waiting:
        process = waiting.pop()
        yield process, names.get(process, "")
        waiting += children.get(process, [])


def _resident_mb(process: int) -> float:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


def growth_mb(held: Sequence[float]) -> float | None:
    """How much more was held in the last quarter of a process's time than in the second; None where that was short.

    Of a short time, the second quarter is that in which it still loads what it needs.
    """
    there = [each for each in held if each]
    quarter = len(there) // 4
    if len(there) < SHORT_S:
        return None
    return float(np.mean(there[-quarter:]) - np.mean(there[quarter : 2 * quarter]))


def run_step(step: str, variables: Mapping[str, str]) -> tuple[float, Memory]:
    """Run a step, and look at its memory; its seconds.

    Raises
    ------
    RuntimeError
        Where it failed; with the end of what it said.
    """
    command = [sys.executable, "-m", f"jobs.{step}", "--call-date", DAY.isoformat(), "--run-id", "soak"]
    started, memory = time.monotonic(), Memory()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=ROOT, env=dict(variables), stdout=said, stderr=said)
        while process.poll() is None:
            memory.look(process.pid)
            time.sleep(1)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{step} ended with {process.returncode}:\n{said.read()[-3000:].decode()}")
    return time.monotonic() - started, memory


def unaccounted(objects: Mapping[str, Body], warehouse: Path) -> list[str]:
    """What the published tables say otherwise than what has to become of the recordings."""
    tables = Warehouse(LocalStorage(warehouse))
    rows = tables.read("recordings").select(["source_uri", "status", "reason_code"]).to_pylist()
    found = {
        row["source_uri"].removeprefix(f"s3://{BUCKET}/"): ": ".join(filter(None, (row["status"], row["reason_code"])))
        for row in rows
    }
    wrong = [f"{each}: {found.get(each)}, expected {body.outcome}" for each, body in objects.items()]
    wrong = [each for each, (name, body) in zip(wrong, objects.items(), strict=True) if found.get(name) != body.outcome]
    calls = tables.read("calls", columns=["source_uri"]).num_rows
    scored = sum(body.outcome == "scored" for body in objects.values())
    if len(rows) != len(objects) or calls != scored:
        wrong.append(f"{len(rows)} rows of {len(objects)} recordings, {calls} calls of {scored} scored")
    return wrong


def main() -> int:
    """Run the night and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="?", type=int, default=500)
    parser.add_argument("--calls", type=Path, help="a folder of two-channel WAV calls (default: the sample calls)")
    arguments = parser.parse_args()
    console = Console(markup=False, highlight=False, width=120)
    table = Table("step", "seconds", *(f"{who}, MB (growth)" for who in ("driver", "JVM", "worker")))
    grew = []
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        good, bad = bodies(arguments.calls or make_sample_calls(folder / "calls", DAY).folder)
        objects = {
            key(index): bad[index // BAD_EVERY % len(bad)] if index % BAD_EVERY == 0 else good[index % len(good)]
            for index in range(arguments.recordings)
        }
        with store(objects) as address:
            variables = environment(LocalS3(address), folder, "")
            for step in STEPS["night"]:
                seconds, memory = run_step(step, variables)
                cells = []
                for held in (memory.driver, memory.jvm, memory.worker):
                    more = growth_mb(held)
                    cells.append(f"{max(held):,.0f}" + ("" if more is None else f" ({more:+.0f})"))
                    if held is not memory.jvm and more is not None and more > GREW_MB:  # Java's heap has its own bound
                        grew.append(f"memory of {step} grew by {more:.0f} MB")
                table.add_row(step, f"{seconds:.0f}", *cells)
                console.print(f"{step}: {seconds:.0f} s, {', '.join(cells)} MB")
        wrong = unaccounted(objects, folder / "warehouse")
    console.print(table)
    for outcome, number in Counter(body.outcome for body in objects.values()).most_common():
        console.print(f"{number:,} {outcome}")
    console.print(f"{len(objects) - len(wrong):,} of {len(objects):,} recordings accounted for")
    for each in (*wrong[:10], *grew):
        console.print(each)
    return 1 if wrong or grew else 0


if __name__ == "__main__":
    sys.exit(main())
