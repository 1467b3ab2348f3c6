"""``make bench``: how fast the way from S3 to Parquet is, against a bare loop, other ways and this machine's bounds.

Everything is measured in one run, one thread each, pinned to cores; ratios come first, since machines differ and are
noisy. What one thread or one core does is measured in processor time. Writes ``latest.json``, ``README.md`` and a
picture under docs/benchmarks/, and says what moved since the last result there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from infra.demo.local_s3 import LocalS3
from infra.demo.sample_calls import make_sample_calls
from infra.night import LocalAirflow, run_night
from jobs.settings import ROOT, code_version
from jobs.storage import LocalStorage
from ser_model.classifier import Classifier
from ser_model.prosody import ProsodyExtractor
from tests.benchmarks import peers, stages, steps
from tests.benchmarks.listing import listing_store
from tests.benchmarks.page import write_page
from tests.benchmarks.recordings import DAY, Recording, key, make_recordings
from tests.integration import spark_hosts

DOCS = ROOT / "docs" / "benchmarks"
SCRIPTED = ROOT.parent / "shared" / "calls" / "scripted"
MODEL = ROOT / "ser_model" / "models" / "research"
RECORDINGS = 14
TRIES, QUICK_TRIES = 3, 2
GROWTH, QUICK_GROWTH = (1, 4, 16, 96), (1, 4, 16)
MANY_SHORT, LONG_HOURS = 10_000, 4.0
PLANNED = 1_000_000
MEAN_SEGMENT_FRAMES = 144
PACKAGES = ("numpy", "scipy", "onnxruntime", "pyspark", "pyarrow", "librosa", "soundfile", "boto3", "opensmile")

Measured = TypeVar("Measured")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--calls",
        type=Path,
        help="a folder of two-channel WAV calls (default: ../shared/calls/scripted, else the sample calls)",
    )
    parser.add_argument("--quick", action="store_true", help="fewer tries, smaller trials of memory and planning")
    parser.add_argument("--out", type=Path, default=DOCS, help="where the result is written (default: %(default)s)")
    options = parser.parse_args(argv)
    if not os.environ.get("OMP_NUM_THREADS") == os.environ.get("OPENBLAS_NUM_THREADS") == "1":
        print("expected OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1: start it by make bench", file=sys.stderr)
        return 1
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("found 1 core; expected at least 2, one of which is the S3 server's", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="callmood-bench-") as folder:
        calls = options.calls or (
            SCRIPTED if SCRIPTED.is_dir() else make_sample_calls(Path(folder) / "calls", DAY).folder
        )
        benchmark = Benchmark(Path(folder), calls, cores, quick=options.quick)
        result = {**machine(), **benchmark.alone(), **benchmark.whole(), **benchmark.fixed()}
    result = {**ratios(result), **result}
    latest = options.out / "latest.json"
    for line in moved(json.loads(latest.read_text()) if latest.exists() else {}, result):
        print(line)
    options.out.mkdir(parents=True, exist_ok=True)
    latest.write_text(json.dumps(result, indent=2) + "\n")
    write_page(result, options.out)
    print(f"written: {options.out}")
    return 0


class Benchmark:
    """All measurements, on one set of recordings.

    Parameters
    ----------
    folder
        For what the runs leave.
    calls
        The folder of calls that the recordings are made of.
    cores
        The cores of this machine; the S3 server has the last one.
    quick
        Measure a small part, to see whether it runs.
    """

    def __init__(self, folder: Path, calls: Path, cores: Sequence[int], *, quick: bool) -> None:
        self.folder, self.calls, self.cores = folder, calls, cores
        self.recordings: list[Recording] = make_recordings(calls, RECORDINGS)
        self.call_hours = sum(recording.duration_s for recording in self.recordings) / 3600
        self.tries = QUICK_TRIES if quick else TRIES
        self.growth = QUICK_GROWTH if quick else GROWTH
        self.n_short, self.long_hours = (500, 0.5) if quick else (MANY_SHORT, LONG_HOURS)
        self.n_planned = 50_000 if quick else PLANNED
        self.classifier = Classifier.load(MODEL)

    def alone(self) -> dict[str, Any]:
        """The stages, the bare loop and the other ways, on one core; seconds are of a call hour."""
        with steps.on_cores(self.cores[:1]):
            bounds = tell("bounds of this machine", stages.measure_bounds)
            # Taken in turn, so that a slow moment of the machine meets all of them.
            bare, plain, default_rate = [], [], []
            for _ in range(self.tries):
                bare.append(tell("bare loop", self._bare))
                plain.append(tell("plain script at 8 kHz", lambda: self._plain(8000)))
                default_rate.append(tell("plain script at librosa's rate", lambda: self._plain(None)))
            seconds, by_stage = min(bare, key=lambda each: each[0])
            few = self.recordings[:3]
            functionals_s = tell("openSMILE", lambda: peers.opensmile_functionals(few))
            few_hours = sum(recording.duration_s for recording in few) / 3600
            return {
                "bounds": vars(bounds),
                "bare_s": seconds,
                "stages_s": by_stage,
                "stages_bound_s": self._bound_s(bounds),
                "plain_script_s": min(plain),
                "plain_script_default_rate_s": min(default_rate),
                "opensmile_egemaps_s": None if functionals_s is None else functionals_s / few_hours,
                "logmel_times_real_time": tell("log-mel", lambda: stages.log_mel_times_real_time(self.classifier)),
                "kaldi_fbank_times_real_time": tell("kaldi-native-fbank", peers.kaldi_times_real_time),
                "transformer_3s_segment_s": tell("a network of wav2vec2-base's size", peers.transformer_seconds),
                "memory": tell("memory of a worker", self._memory),
            }

    def whole(self) -> dict[str, Any]:
        """Nights of growing size from a local S3, every step a process, on one core and on two."""
        with steps.store(self.folder, self.cores[-1]) as s3:
            with steps.on_cores(self.cores[:1]):
                numbers = {times: times * len(self.recordings) for times in self.growth}
                hours = {
                    times: steps.upload(s3, f"x{times}", self.recordings, number) for times, number in numbers.items()
                }
                get_s = tell("GET", lambda: self._get(s3, numbers[1]))
            on_one = [
                tell(f"a night of {hours[times]:.1f} h on one core", partial(self._night, s3, times, hours[times], 1))
                for times in self.growth
            ]
            most = self.growth[-1]
            on_two = tell("the same night on two cores", lambda: self._night(s3, most, hours[most], 2))
            by_workers = [
                tell(f"the same by {n} Spark workers", partial(self._by_workers, s3, most, hours[most], n))
                for n in (1, 2)
            ]
        return {
            "get_s": get_s / self.call_hours,
            "nights_on_one_core": [
                _plain_values(night, number) for night, number in zip(on_one, numbers.values(), strict=True)
            ],
            "night_on_two_cores": _plain_values(on_two, numbers[most]),
            "reading_by_workers": [_plain_values(night, numbers[most]) for night in by_workers],
        }

    def fixed(self) -> dict[str, Any]:
        """What hardly grows with the recordings: planning's listing, and what Airflow costs a night."""
        return {
            "planned_objects": self.n_planned,
            "planning_s": tell(f"planning {self.n_planned:,} objects", self._planning),
            **self._through_airflow(),
        }

    def _bare(self) -> tuple[float, dict[str, float]]:
        seconds, by_stage = stages.bare_loop(self.recordings, self.classifier, self.folder / "bare")
        return seconds / self.call_hours, {name: each / self.call_hours for name, each in by_stage.items()}

    def _plain(self, sample_rate_hz: int | None) -> float:
        return peers.plain_script(self.recordings, MODEL, sample_rate_hz, self.folder) / self.call_hours

    def _bound_s(self, bounds: stages.Bounds) -> dict[str, float]:
        """The least seconds a call hour of stages that have a bound."""
        spec = self.classifier.card.feature_spec
        sound_bytes = 3600 * spec.sample_rate_hz * 2 * 4
        n_bytes = sum(len(recording.content) for recording in self.recordings) / self.call_hours
        of_floats, of_integers = stages.network_operations(MODEL / "model.onnx", MEAN_SEGMENT_FRAMES, spec.n_mels)
        work = stages.work_in(self.recordings, self.classifier)
        # Of a real transform (Cooley and Tukey's count), the window before it and the powers after it.
        of_spectrum = spec.window_length * (2.5 * math.log2(spec.window_length) + 3)
        of_log_mel = work.spectra * of_spectrum + work.log_mel_frames * 2 * spec.n_bins * spec.n_mels
        of_pitch = work.spectra * 2 * spec.n_bins * ProsodyExtractor(spec).n_lags
        parquet_bytes = sum(file.stat().st_size for file in (self.folder / "bare").rglob("*.parquet")) / self.tries
        sample_bytes = 4 * work.log_mel_frames * spec.hop_length
        return {
            "GET": n_bytes / bounds.loopback_bytes,
            "decoding": (n_bytes + sound_bytes) / bounds.memory_bytes,
            "speech activity": sound_bytes / bounds.memory_bytes,
            "log-mel": of_log_mel / bounds.flops / self.call_hours,
            "voice": of_pitch / bounds.flops / self.call_hours,
            "prosody": sample_bytes / bounds.memory_bytes / self.call_hours,
            "rows and Parquet": parquet_bytes / bounds.memory_bytes / self.call_hours,
            "inference": work.segments / self.call_hours * (of_floats / bounds.flops + of_integers / bounds.int8_ops),
        }

    def _memory(self) -> Mapping[str, float]:
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.memory",
            str(self.calls),
            str(self.n_short),
            str(self.long_hours),
        ]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return {**json.loads(printed), "long_hours": self.long_hours}

    def _get(self, s3: LocalS3, number: int) -> float:
        """Seconds to fetch so many recordings, one after the other."""
        client = s3.client()
        started = time.process_time()
        for index in range(number):
            client.get_object(Bucket=steps.BUCKET, Key=f"x1/{key(index)}")["Body"].read()
        return time.process_time() - started

    def _night(self, s3: LocalS3, times: int, call_hours: float, n_cores: int) -> steps.Night:
        return steps.run_steps(s3, self.folder / "night", f"x{times}", self.cores[:n_cores], call_hours)

    def _by_workers(self, s3: LocalS3, times: int, call_hours: float, n_workers: int) -> steps.Night:
        """The steps that read, on a standalone cluster of workers of a core each; the driver has the first one's."""
        folder, prefix = self.folder / f"workers{n_workers}", f"x{times}"
        variables = steps.environment(s3, folder / "night", prefix)
        with spark_hosts.on_this_host(folder / "cluster", self.cores[:n_workers], variables) as master:
            return steps.run_steps(
                s3, folder / "night", prefix, self.cores[:n_workers], call_hours, steps.READING, master=master
            )

    def _planning(self) -> float:
        """Seconds of the planning step on the wall, where every page of the list takes 20 ms."""
        with listing_store(steps.BUCKET, self.n_planned) as endpoint, steps.on_cores(self.cores[:1]):
            server, only = LocalS3(endpoint), ("plan_recordings",)
            return steps.run_steps(server, self.folder / "planning", "", self.cores[:1], 0.0, only).seconds[only[0]]

    def _through_airflow(self) -> dict[str, Any]:
        """Nights from ``airflow dags test`` to the report: of one recording, and of as many as the second in growth."""
        folder, more = self.folder / "airflow", self.growth[1] * len(self.recordings)
        airflow = LocalAirflow(folder / "home", retry_delay_s=2.0)

        def night(prefix: str) -> Mapping[str, float]:
            """Seconds in all and of each step."""
            variables = steps.environment(s3, folder, prefix)
            started = time.perf_counter()
            run = run_night(DAY, airflow, LocalStorage(folder / "staging"), variables, Console(quiet=True))
            seconds = time.perf_counter() - started
            parts = {step: marker.seconds for step, marker in run.markers().items()}
            return {"total": seconds, **parts, "Airflow and processes": seconds - sum(parts.values())}

        with steps.store(self.folder, self.cores[-1]) as s3:
            steps.upload(s3, "one", self.recordings[:1], 1)
            hours = steps.upload(s3, "more", self.recordings, more)
            tell("Airflow's database is made, and a night of one recording", lambda: night("one"))
            fixed = tell("a night of one recording, with Airflow", lambda: night("one"))
            dag = tell(f"a night of {hours:.1f} h, with Airflow", lambda: night("more"))
        return {"night_fixed": fixed, "dag_night": {"recordings": more, "call_hours": hours, **dag}}


def tell(what: str, measure: Callable[[], Measured]) -> Measured:
    """Measure, and say on standard error what is being measured and how long that took."""
    print(f"{what} ... ", end="", file=sys.stderr, flush=True)
    started = time.perf_counter()
    measured = measure()
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return measured


def machine() -> dict[str, Any]:
    """What it was measured on, and with what."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": versions,
        "commit": code_version(),
    }


def ratios(result: Mapping[str, Any]) -> dict[str, float]:
    """The figures that the rest is for; of nights on one core, what a call hour more costs, with every step."""
    fewer, most = result["nights_on_one_core"][-2:]
    more_s = sum(most["processor_s"].values()) - sum(fewer["processor_s"].values())
    whole_s = more_s / (most["call_hours"] - fewer["call_hours"])
    one_core, two_cores, one_worker, two_workers = (
        sum(night["seconds"][step] for step in steps.READING)
        for night in (most, result["night_on_two_cores"], *result["reading_by_workers"])
    )
    return {
        "whole_call_hours_per_core_hour": 3600 / whole_s,
        "over_bare_loop": whole_s / result["bare_s"],
        "times_plain_script": result["plain_script_s"] / whole_s,
        "times_plain_script_default_rate": result["plain_script_default_rate_s"] / whole_s,
        "logmel_times_real_time": result["logmel_times_real_time"],
        "two_core_speedup": one_core / two_cores,
        "two_worker_speedup": one_worker / two_workers,
        "worker_peak_mb": result["memory"]["long_peak_mb"],
        "night_fixed_s": result["night_fixed"]["total"],
    }


def moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each ratio that moved by more than a twentieth."""
    names = [name for name in ratios(now) if name in before]
    return [
        f"{name}: {before[name]:.4g} before, {now[name]:.4g} now"
        for name in names
        if abs(now[name] - before[name]) > 0.05 * abs(before[name])
    ]


def _plain_values(night: steps.Night, recordings: int) -> dict[str, Any]:
    return {"recordings": recordings, **vars(night)}


if __name__ == "__main__":
    sys.exit(main())
