"""Saved runs: only finished ones of one recipe count, and nothing is computed twice or kept too long."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

torch = pytest.importorskip("torch")

from ser_model.classifier import softmax  # noqa: E402
from ser_model.conditions import CONDITIONS  # noqa: E402
from ser_model.corpora import Clip  # noqa: E402
from ser_model.crossvalidation import FOLDS_FILE, fold_config  # noqa: E402
from ser_model.errors import TrainingRunError  # noqa: E402
from ser_model.evaluate import clip_segments, fit_temperature  # noqa: E402
from ser_model.fine_tuning import Ancestor  # noqa: E402
from ser_model.saved_runs import Cache, Listener, Run, read_runs  # noqa: E402
from ser_model.train import (  # noqa: E402
    CHECKPOINT_FILE,
    CONFIG_FILE,
    CURVES_FILE,
    RUN_FILE,
    Split,
    TrainingConfig,
    clip_logits,
    make_network,
)

pytestmark = pytest.mark.torch

RESEARCH = TrainingConfig.load(FOLDS_FILE.parent / "research.yaml")


def save(
    folder: Path,
    config: TrainingConfig,
    epochs: int | None = None,
    seconds: str = "1.5",
    ancestor: Ancestor | None = None,
) -> None:
    """A run folder as training leaves it, of a network that was not trained."""
    torch.manual_seed(config.seed)
    folder.mkdir(parents=True)
    state = {"epoch": config.epochs if epochs is None else epochs, "average": make_network(config).state_dict()}
    torch.save(state, folder / CHECKPOINT_FILE)
    (folder / CONFIG_FILE).write_text(yaml.safe_dump(config.to_dict()))
    run = {"commit": "abc", "torch": "2"} | ({"started_from": ancestor.to_dict()} if ancestor else {})
    (folder / RUN_FILE).write_text(yaml.safe_dump(run))
    (folder / CURVES_FILE).write_text(f"epoch,loss,seconds\n1,2.0,{seconds}\n2,1.9,{seconds}\n")


def test_finished_runs_by_seed_and_fold(tmp_path: Path) -> None:
    for fold, seed in (("2", 1), ("1", 2), ("1", 1), ("random", 1)):
        save(tmp_path / f"{fold}-{seed}", fold_config(RESEARCH, fold, seed))
    save(tmp_path / "3-1", fold_config(RESEARCH, "3", 1), epochs=5)
    (tmp_path / "notes").mkdir()
    runs, unfinished = read_runs(tmp_path)
    assert [run.name for run in runs] == ["1-1", "2-1", "random-1", "1-2"]
    assert unfinished == ["3-1"]
    assert (runs[0].commit, runs[0].training_s) == ("abc", 3.0)


def test_what_training_took_may_not_be_written_down(tmp_path: Path) -> None:
    save(tmp_path / "1-1", fold_config(RESEARCH, "1", 1), seconds="")
    assert read_runs(tmp_path)[0][0].training_s is None
    assert read_runs(tmp_path / "missing") == ([], [])


def test_a_run_must_be_of_its_fold(tmp_path: Path) -> None:
    save(tmp_path / "1-1", fold_config(RESEARCH, "2", 1))
    with pytest.raises(TrainingRunError, match="was not trained on fold 1 with seed 1"):
        read_runs(tmp_path)


def test_a_run_must_be_of_this_network(tmp_path: Path) -> None:
    save(tmp_path / "1-1", fold_config(RESEARCH, "1", 1))
    state = torch.load(tmp_path / "1-1" / CHECKPOINT_FILE, weights_only=True)
    state["average"].popitem()
    torch.save(state, tmp_path / "1-1" / CHECKPOINT_FILE)
    with pytest.raises(TrainingRunError, match="is of another network"):
        read_runs(tmp_path)


def test_runs_must_be_of_one_recipe(tmp_path: Path) -> None:
    save(tmp_path / "1-1", fold_config(RESEARCH, "1", 1))
    save(tmp_path / "2-1", fold_config(replace(RESEARCH, learning_rate=0.1), "2", 1))
    with pytest.raises(TrainingRunError, match="are of 2 configurations"):
        read_runs(tmp_path)


def test_runs_must_have_started_from_one_model(tmp_path: Path) -> None:
    base = Ancestor("base-1", ("tess",), {"tess": ("OA", "YA")})
    for fold in ("1", "2"):
        save(tmp_path / f"{fold}-1", fold_config(RESEARCH, fold, 1), ancestor=base)
    assert [run.ancestor for run in read_runs(tmp_path)[0]] == [base, base]
    save(tmp_path / "3-1", fold_config(RESEARCH, "3", 1))
    with pytest.raises(TrainingRunError, match="are of 2 configurations or --init"):
        read_runs(tmp_path)


@pytest.fixture
def clips(tmp_path: Path, voice: Callable[..., np.ndarray]) -> list[Clip]:
    paths = [tmp_path / f"{number}.wav" for number in range(4)]
    for number, path in enumerate(paths):
        soundfile.write(path, voice(1.0 + number, 100.0 + 40 * number), 8000)
    return [
        Clip(path, "ravdess", f"{number % 2 + 19}", emotion)
        for number, (path, emotion) in enumerate(zip(paths, ("happy", "sad", "angry", "calm"), strict=True))
    ]


def test_a_run_hears_as_its_network_does_and_only_once(tmp_path: Path, clips: list[Clip]) -> None:
    for fold in ("1", "2"):
        save(tmp_path / f"{fold}-1", fold_config(RESEARCH, fold, 1))
    runs, _ = read_runs(tmp_path)
    run, other = runs
    splits = {"1-1": Split((), (), tuple(clips[2:])), "2-1": Split((), (), tuple(clips[:2]))}
    said: list[str] = []

    def listener() -> Listener:
        return Listener(tmp_path, runs, splits, CONDITIONS, (), said.append)

    heard = listener().hear(run, splits["1-1"].test, "g711")
    spec = run.config.features
    calibrating = splits["2-1"].test
    labelled = [clip_logits(other.network, clip_segments(calibrating, spec, name), spec) for name in ("clean", "g711")]
    truth = np.array([run.config.labels.index(clip.emotion) for clip in calibrating] * 2)
    temperature = fit_temperature(np.concatenate(labelled), truth)
    segments = clip_segments(splits["1-1"].test, spec, "g711")
    expected = [
        np.mean([softmax(clip_logits(run.network, [[piece]], spec), temperature)[0] for piece in pieces], axis=0)
        for pieces in segments
    ]
    np.testing.assert_allclose(heard.probabilities, expected, atol=1e-4)
    assert heard.row_of_segment.tolist() == [0, 1, 1], "three seconds, and four of which each half is a segment"
    assert heard.segment_s == pytest.approx([3.0, 2.0, 2.0], abs=0.05)
    assert len(said) == 3, "two conditions of the other fold's speakers, one of its own"
    again = listener().hear(run, splits["1-1"].test, "g711")
    np.testing.assert_array_equal(again.probabilities, heard.probabilities)
    assert len(said) == 3
    listener().hear(run, splits["1-1"].test, "g711", longest_s=1.0)
    assert len(said) == 4


def test_a_run_is_calibrated_by_the_other_folds_of_its_seed_never_by_its_own_test_speakers(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("1-1", "2-1", "3-1", "2-2", "random-1")
    for name in names:
        fold, _, seed = name.partition("-")
        save(tmp_path / name, fold_config(RESEARCH, fold, int(seed)))
    runs, _ = read_runs(tmp_path)
    of_run = {run.name: run for run in runs}
    listener = Listener(
        tmp_path, runs, dict.fromkeys(names, Split((), (), tuple(clips))), CONDITIONS, (), lambda line: None
    )
    used: list[list[str]] = []

    def calibration_by(chosen: list[Run]) -> tuple[float, float]:
        used.append([run.name for run in chosen])
        return 0.8, 0.1

    monkeypatch.setattr(listener, "calibration_by", calibration_by)
    assert listener.calibration(of_run["2-1"]) == (0.8, 0.1)
    assert used == [["1-1", "3-1"]]
    assert listener.calibration(of_run["random-1"]) == (1.0, 0.0)
    with pytest.raises(TrainingRunError, match="2-2 is the only finished run of a fold with seed 2"):
        listener.calibration(of_run["2-2"])


def test_what_is_kept_follows_from_its_key_alone(tmp_path: Path) -> None:
    computed: list[float] = []

    def compute(value: float) -> Callable[[], dict[str, np.ndarray]]:
        def once() -> dict[str, np.ndarray]:
            computed.append(value)
            return {"value": np.array([value])}

        return once

    cache = Cache(tmp_path / "cache")
    for key, value in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
        cache.get("kind", [key], ["folds"], compute(value))
    assert computed == [1.0, 2.0]
    assert Cache(tmp_path / "cache").get("kind", ["a"], ["folds"], compute(4.0))["value"] == 1.0
