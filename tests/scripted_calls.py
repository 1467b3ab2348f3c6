"""Scores scripted calls by models that never heard their actor: are turns heard as acted, calls ordered by the index?

    python -m tests.scripted_calls --models MODELS --calls CALLS --out OUT

MODELS holds model folders, such as those exported from the folds of a cross-validation; CALLS has recordings with
``contacts.jsonl`` and ``truth.jsonl`` (a line a call: contact_id, arc, actor, turns with role, start_s, end_s and the
customer's acted emotion). Each call goes through the whole night, `infra.demo`, with one model whose
``heard_speakers`` lack its actor; a night that OUT has already is not run again. The index is compared with what its
formula gives for the acted emotions. A turn is heard as the mean of its segments' probabilities, each by its share of
the turn; one in which no speech was found is wrong.
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
from ser_model.evaluate import unweighted_average_recall
from ser_model.reliability import share_interval, speaker_interval
from ser_model.taxonomy import EMOTIONS, MOOD

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


@dataclass(frozen=True)
class Turn:
    """A customer's turn: who acted which emotion, and as which emotion and mood it was heard; None: not at all."""

    actor: int
    acted: str
    heard: str | None
    mood: str | None


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


def heard_turns(call: Mapping[str, Any], segments: Sequence[Mapping[str, Any]]) -> list[Turn]:
    """Return a call's customer turns, by the rows of `emotion_log` of its classified segments."""
    turns = []
    for turn in (turn for turn in call["turns"] if turn["role"] == "customer"):
        total = dict.fromkeys(EMOTIONS, 0.0)
        for segment in segments:
            shared_s = min(segment["end_s"], turn["end_s"]) - max(segment["start_s"], turn["start_s"])
            for emotion in EMOTIONS if shared_s > 0 else ():
                total[emotion] += shared_s * (segment[f"p_{emotion}"] or 0.0)
        moods = dict.fromkeys(MOOD.values(), 0.0)
        for emotion, weight in total.items():
            moods[MOOD[emotion]] += weight
        found = any(total.values())
        heard, mood = (max(total, key=total.__getitem__), max(moods, key=moods.__getitem__)) if found else (None, None)
        turns.append(Turn(call["actor"], turn["emotion"], heard, mood))
    return turns


def score(model: Path, contact_ids: Sequence[str], calls: Path, out: Path) -> Warehouse:
    """Run a night of some of the calls with a model, unless it was run already; return its tables."""
    warehouse = Warehouse(LocalStorage(out / "warehouse"))
    if warehouse.read("calls", columns=["contact_id"]).num_rows:
        return warehouse
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
    return warehouse


def rank_correlation(scored: Sequence[Scored]) -> tuple[float, tuple[float, float]]:
    """Return Spearman's correlation of the two indices with its 95% interval: a bootstrap over actors."""
    both = np.array([(call.acted, call.index) for call in scored])

    def correlation(drawn: npt.NDArray[np.intp]) -> float:
        return float(spearmanr(both[drawn, 0], both[drawn, 1]).statistic)

    return correlation(np.arange(len(both))), speaker_interval(correlation, [call.actor for call in scored])


def turn_figures(turns: Sequence[Turn]) -> dict[str, tuple[float, tuple[float, float]]]:
    """Return UAR, accuracy and mood accuracy over turns, each with its 95% interval: a bootstrap over actors."""
    actors = [turn.actor for turn in turns]
    # A turn that was not heard is of no emotion: -1 is nobody's.
    truth = np.array([EMOTIONS.index(turn.acted) for turn in turns])
    heard = np.array([EMOTIONS.index(turn.heard) if turn.heard else -1 for turn in turns])
    right_mood = np.array([turn.mood == MOOD[turn.acted] for turn in turns], dtype=float)

    def uar(drawn: npt.NDArray[np.intp]) -> float:
        return unweighted_average_recall(truth[drawn], heard[drawn])

    right = (truth == heard).astype(float)
    return {
        "UAR": (uar(np.arange(len(turns))), speaker_interval(uar, actors)),
        "accuracy": (float(right.mean()), share_interval(right, actors)),
        "mood accuracy": (float(right_mood.mean()), share_interval(right_mood, actors)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line a call, how many pairs stand in the right order, the rank correlation and the figures over turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--calls", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder that is made: what the nights write")
    arguments = parser.parse_args(argv)
    truth = [json.loads(line) for line in (arguments.calls / "truth.jsonl").read_text().splitlines()]
    models = sorted(path.parent for path in arguments.models.glob("*/model.yaml"))
    scored: list[Scored] = []
    turns: list[Turn] = []
    for model, contact_ids in by_model(models, truth).items():
        tables = score(model.absolute(), contact_ids, arguments.calls, (arguments.out / model.name).absolute())
        index = {row["contact_id"]: row["satisfaction_index"] for row in tables.read("calls").to_pylist()}
        segments = [row for row in tables.read("emotion_log").to_pylist() if row["classified"]]
        for call in (call for call in truth if call["contact_id"] in contact_ids):
            contact_id = call["contact_id"]
            acted = acted_index(call["turns"])
            scored.append(Scored(contact_id, call["arc"], call["actor"], acted, index[contact_id], model.name))
            turns += heard_turns(call, [row for row in segments if row["contact_id"] == contact_id])
    for call in sorted(scored, key=lambda call: call.index):
        print(f"{call.arc:<12} actor {call.actor:02d}  acted {call.acted:5.1f}  index {call.index:5.1f}  {call.model}")
    pairs = [
        (low.index, high.index) for low in scored if low.arc in LOW_ARCS for high in scored if high.arc in HIGH_ARCS
    ]
    right = sum(low < high for low, high in pairs)
    print(f"{' and '.join(LOW_ARCS)} below {' and '.join(HIGH_ARCS)}: {right} of {len(pairs)} pairs")
    value, (low, high) = rank_correlation(scored)
    print(f"rank correlation with the index of what was acted: {value:.2f} (95% interval {low:.2f} to {high:.2f})")
    found = (f"{name} {of:.2f} ({low:.2f} to {high:.2f})" for name, (of, (low, high)) in turn_figures(turns).items())
    print(f"{len(turns)} turns of customers: {', '.join(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
