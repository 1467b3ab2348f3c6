"""The steps of a night ended by SIGKILL at their writes: run again, each makes what an undisturbed one makes.

By default at some of their points; ``make chaos`` takes every one. Publishing is test_killed.py's.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from kill_steps import MOMENTS

from infra.demo.local_s3 import LocalS3

pytestmark = pytest.mark.s3

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUCKET = "killed-steps"


@dataclass(frozen=True)
class Kills:
    """Steps that are killed: of the points of each, every so many-th in ``make test``, and in ``make chaos``."""

    quick: Mapping[str, int]
    every_fault: Mapping[str, int]
    options: tuple[str, ...] = ()


KILLS = {
    "read and classify": Kills(
        dict.fromkeys(("plan_recordings", "extract_features", "classify_emotions"), 7),
        dict.fromkeys(("plan_recordings", "extract_features", "classify_emotions"), 1),
    ),
    # Each try starts Spark, two a kill; the third is of one of its workers.
    "summarize": Kills({}, {"summarize_calls": 13}, ("--of-a-made-up-day",)),
    # Of Data Docs, most files are one like the other.
    "validate and report": Kills(
        {"validate_tables": 68, "render_report": 4},
        {"validate_tables": 10, "render_report": 1},
        ("--of-a-made-up-day",),
    ),
}


@pytest.fixture(scope="module")
def environment(
    s3: LocalS3, voice: Callable[..., np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """A day of two calls and an empty file, with contact records."""
    client = s3.client()
    client.create_bucket(Bucket=BUCKET)
    customer, agent = np.pad(voice(12.0), (8000, 16000)), np.pad(voice(5.0, pitch_hz=210.0), (72000, 8000))
    sound = np.stack([customer, agent], axis=1)
    content = io.BytesIO()
    soundfile.write(content, sound, 8000, format="WAV", subtype="PCM_16")
    for name, body in (("one", content.getvalue()), ("two", content.getvalue()[:-16000]), ("none", b"")):
        client.put_object(Bucket=BUCKET, Key=f"CallRecordings/2026/11/20/{name}_20261120T08:00_UTC.wav", Body=body)
    contacts = tmp_path_factory.mktemp("killed-steps") / "contacts.jsonl"
    contacts.write_text(
        "".join(
            json.dumps({"ContactId": name, "InitiationTimestamp": "2026-11-20T08:00:00Z", "Queue": {"Name": "Q"}})
            + "\n"
            for name in ("one", "two", "none")
        )
    )
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE, ROOT / "tests" / "unit"))),
        # One worker, so that what a kill leaves is the same each time.
        "CALLMOOD_SPARK_MASTER": "local[1]",
        "PYSPARK_SUBMIT_ARGS": "--conf spark.python.daemon.module=watched_workers pyspark-shell",
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "CALLMOOD_S3_ENDPOINT": s3.endpoint_url,
        "CALLMOOD_RECORDINGS": f"s3://{BUCKET}",
        "CALLMOOD_CONTACTS": str(contacts),
        "CALLMOOD_IDENTITY_KEY": "0123456789abcdef0123456789abcdef",
        "CALLMOOD_ACCEPT_NON_COMMERCIAL": "true",
        "CALLMOOD_COVERAGE_DEGRADED": "0.3",  # one of the three is empty
    }


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("what", KILLS)
def test_a_killed_step_run_again_makes_what_an_undisturbed_one_makes(
    environment: dict[str, str],
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
    what: str,
) -> None:
    chosen = KILLS[what].every_fault if pytestconfig.getoption("every_fault") else KILLS[what].quick
    if not chosen:
        pytest.skip("starts Spark for every try, minutes in all: make chaos")
    options = (*KILLS[what].options, *(f"{step}={number}" for step, number in chosen.items()))
    program = [sys.executable, str(HERE / "kill_steps.py"), *options]
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    kills = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    record_property("faults", len(kills))
    tried = Counter(kill["step"] for kill in kills)
    assert tried == {kill["step"]: kill["points"] // chosen[kill["step"]] for kill in kills}
    assert tried.keys() == chosen.keys()
    assert {kill["moment"] for kill in kills} == set(MOMENTS)
    assert [kill for kill in kills if (kill["killed_by"], kill["reached"]) != (9, True)] == []
    assert [kill for kill in kills if not kill["same"]] == []
    # A step that was killed says so by saying nothing.
    for kill in kills:
        wrote_it = kill["change"].endswith(f"_steps/{kill['step']}.json") and kill["moment"] == "after"
        assert kill["marker"] == ("done" if wrote_it and kill["change"].startswith("put") else None), kill
