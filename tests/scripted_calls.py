"""Scores scripted calls by models that never heard their actor, and says how well the index orders them.

    python -m tests.scripted_calls --models MODELS --calls CALLS --out OUT

MODELS holds model folders, such as those exported from the folds of a cross-validation; CALLS has recordings with
``contacts.jsonl`` and ``truth.jsonl`` (a line a call: contact_id, arc, actor, turns with role, start_s, end_s and the
customer's acted emotion). Each call goes through the whole night, `infra.demo`, with one model whose
``heard_speakers`` lack its actor. The index is compared with what its formula gives for the acted emotions.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from scipy.stats import spearmanr

from jobs.settings import ROOT
from jobs.storage import LocalStorage
from jobs.warehouse import Warehouse
from schemas import definitions as d

DRAWS = 2_000
LOW_ARCS = ("furious", "escalating")
HIGH_ARCS = ("content", "delighted")
_FRAME_S = 0.01


@dataclass(frozen=True)
class Scored:
    """A call: what was acted, the index of that, the index that came out, and the model that gave it."""

    contact_id: str
    arc: str
    actor: int
    acted: float
    index: float
    model: str


def acted_index(turns: Sequence[Mapping[str, Any]]) -> float:
    """Return the satisfaction index (docs/satisfaction-index.md) of emotions that are certain."""
    frames = [
        emotion
        for turn in turns
        if turn["role"] == "customer"
        for emotion in [turn["emotion"]] * round((turn["end_s"] - turn["start_s"]) / _FRAME_S)
    ]
    feeling = np.array([d.INDEX_FEELING[emotion] for emotion in frames])
    angry = np.array([emotion == "angry" for emotion in frames], dtype=float)
    negative = np.mean([emotion in d.NEGATIVE_EMOTIONS for emotion in frames])
    end = feeling[-max(round(d.MOOD_EDGE_SHARE * len(frames)), round(d.MOOD_EDGE_MIN_S / _FRAME_S)) :].mean()
    window = round(d.ANGER_PEAK_WINDOW_S / _FRAME_S)
    peak = np.convolve(angry, np.full(window, 1 / window), "valid").max()
    relief = np.clip((end - d.INDEX_RELIEF_FROM) / (d.INDEX_RELIEF_TO - d.INDEX_RELIEF_FROM), 0, 1)
    return float(
        d.INDEX_NEUTRAL
        + d.INDEX_MEAN_WEIGHT * feeling.mean()
        + d.INDEX_END_WEIGHT * end
        - d.INDEX_NEGATIVE_WEIGHT * negative
        - d.INDEX_ANGER_WEIGHT * peak * (1 - d.INDEX_RELIEF * relief)
    )


def by_model(models: Sequence[Path], truth: Sequence[Mapping[str, Any]]) -> dict[Path, list[str]]:
    """Return the contact ids that each model scores: those of an actor that it never heard."""
    heard = {
        model: set(yaml.safe_load((model / "model.yaml").read_text())["heard_speakers"]["ravdess"]) for model in models
    }
    chosen: dict[Path, list[str]] = {}
    for call in truth:
        actor = f"{call['actor']:02d}"
        model = next((model for model in models if actor not in heard[model]), None)
        if model is None:
            raise SystemExit(f"every model of --models heard actor {actor}; expected one that did not: add its fold's")
        chosen.setdefault(model, []).append(call["contact_id"])
    return chosen


def score(model: Path, contact_ids: Sequence[str], calls: Path, out: Path) -> dict[str, float]:
    """Run a night of some of the calls with a model; return the index by contact id."""
    recordings = out / "recordings"
    for path in calls.rglob("*.wav"):
        if any(path.name.startswith(contact_id) for contact_id in contact_ids):
            target = recordings / path.relative_to(calls)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    records = [json.loads(line) for line in (calls / "contacts.jsonl").read_text().splitlines()]
    kept = [record for record in records if record["ContactId"] in contact_ids]
    (recordings / "contacts.jsonl").write_text("".join(json.dumps(record) + "\n" for record in kept))
    command = [sys.executable, "-m", "infra.demo", "--recordings", str(recordings), "--out", str(out)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "CALLMOOD_MODEL": str(model)}, check=True)
    columns = ["contact_id", "satisfaction_index", "model_id"]
    rows = Warehouse(LocalStorage(out / "warehouse")).read("calls", columns=columns).to_pylist()
    return {row["contact_id"]: row["satisfaction_index"] for row in rows}


def rank_correlation(scored: Sequence[Scored]) -> tuple[float, tuple[float, float]]:
    """Return Spearman's correlation of the two indices with its 95% interval: a bootstrap over actors."""
    pairs: dict[int, list[tuple[float, float]]] = {}
    for call in scored:
        pairs.setdefault(call.actor, []).append((call.acted, call.index))
    random = np.random.default_rng(1)
    actors = list(pairs)

    def correlation(drawn: Sequence[int]) -> float:
        both: npt.NDArray[np.float64] = np.array([pair for actor in drawn for pair in pairs[actor]])
        return float(spearmanr(both[:, 0], both[:, 1]).statistic)

    draws = [correlation(random.choice(actors, len(actors)).tolist()) for _ in range(DRAWS)]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return correlation(actors), (float(low), float(high))


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line a call, how many pairs stand in the right order, and the rank correlation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--calls", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder that is made: what the nights write")
    arguments = parser.parse_args(argv)
    truth = [json.loads(line) for line in (arguments.calls / "truth.jsonl").read_text().splitlines()]
    models = sorted(path.parent for path in arguments.models.glob("*/model.yaml"))
    scored = []
    for model, contact_ids in by_model(models, truth).items():
        found = score(model.absolute(), contact_ids, arguments.calls, (arguments.out / model.name).absolute())
        scored += [
            Scored(c["contact_id"], c["arc"], c["actor"], acted_index(c["turns"]), found[c["contact_id"]], model.name)
            for c in truth
            if c["contact_id"] in contact_ids
        ]
    for call in sorted(scored, key=lambda call: call.index):
        print(f"{call.arc:<12} actor {call.actor:02d}  acted {call.acted:5.1f}  index {call.index:5.1f}  {call.model}")
    pairs = [
        (low.index, high.index) for low in scored if low.arc in LOW_ARCS for high in scored if high.arc in HIGH_ARCS
    ]
    right = sum(low < high for low, high in pairs)
    print(f"{' and '.join(LOW_ARCS)} below {' and '.join(HIGH_ARCS)}: {right} of {len(pairs)} pairs")
    value, (low, high) = rank_correlation(scored)
    print(f"rank correlation with the index of what was acted: {value:.2f} (95% interval {low:.2f} to {high:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
