"""Training: speakers are never mixed, a clip's loss knows its corpus, and an interruption changes nothing."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
onnx = pytest.importorskip("onnx")

from ser_model import crossvalidation  # noqa: E402
from ser_model.__main__ import main  # noqa: E402
from ser_model.classifier import Classifier, softmax  # noqa: E402
from ser_model.conditions import CONDITIONS  # noqa: E402
from ser_model.corpora import CORPORA, Clip, CorpusContents, read_corpus  # noqa: E402
from ser_model.crossvalidation import fold_config  # noqa: E402
from ser_model.errors import TeacherError, TrainingConfigError, TrainingRunError  # noqa: E402
from ser_model.export import ExportedNetwork, export_network, export_run  # noqa: E402
from ser_model.features import FeatureSpec, dequantize  # noqa: E402
from ser_model.fine_tuning import Ancestor, load_weights  # noqa: E402
from ser_model.network import EmotionNetwork  # noqa: E402
from ser_model.quantization import to_int8  # noqa: E402
from ser_model.teacher import Encode  # noqa: E402
from ser_model.train import (  # noqa: E402
    TeacherConfig,
    TrainingConfig,
    draw_epoch,
    load_run,
    masked_loss,
    pad_segments,
    split_clips,
    train,
)

pytestmark = pytest.mark.torch

SPEC = FeatureSpec()
INT8 = onnx.TensorProto.INT8
CONFIG_PATH = Path(__file__).parents[2] / "ser_model" / "configs" / "research.yaml"
# The configuration that ships leaves nobody out; its folds do.
RESEARCH = fold_config(TrainingConfig.load(CONFIG_PATH), "5", seed=1)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def config(**changes: Any) -> TrainingConfig:
    return replace(RESEARCH, **changes)


def clip(corpus: str, speaker: str, emotion: str, number: int = 0) -> Clip:
    return Clip(Path(f"{corpus}-{speaker}-{emotion}-{number}.wav"), corpus, speaker, emotion)


def contents(corpus: str, speakers: list[str], per_emotion: int = 2) -> CorpusContents:
    clips = tuple(
        clip(corpus, speaker, emotion, number)
        for speaker in speakers
        for emotion in sorted(CORPORA[corpus].emotions)
        for number in range(per_emotion)
    )
    return CorpusContents(clips, (), ())


CORPUS_CONTENTS = {
    "ravdess": contents("ravdess", [f"{actor:02}" for actor in range(1, 21)]),
    "emodb": contents("emodb", ["03", "08", "09", "10", "14"]),
    "tess": contents("tess", ["OA", "YA"]),
}


def test_configuration_round_trip() -> None:
    assert TrainingConfig.from_dict(yaml.safe_load(yaml.safe_dump(RESEARCH.to_dict()))) == RESEARCH


ABSENT = object()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 3}, r"unknown \['epoch'\]"),
        ({"epochs": ABSENT}, r"missing \['epochs'\]"),
        ({"teacher": {"logits": 1.0}}, "teacher: missing"),
        ({"teacher": {"labelled_by": "nemo", "logits": 1.0, "embedding": 1.0}}, "teacher.labelled_by 'nemo'"),
        ({"labels": ["happy", "joyful"]}, r"labels \['joyful'\]"),
        ({"corpora": {"iemocap": {}}}, "corpus 'iemocap'"),
        ({"commercial_use": True}, "the licences of ravdess, tess do not allow it"),
        ({"measured_on": "savee"}, r"measured_on 'savee'; expected one of \['ravdess', 'emodb', 'tess'\]"),
        ({"corpora": {"tess": {"clips_an_epoch": 3}}}, r"corpora.tess: missing \['development', 'test'\]"),
        ({"augment": {"speed": 0.1}}, "augment: missing"),
        ({"epochs": "many"}, "epochs is 'many'; expected a whole number"),
        ({"epochs": 1.5}, "epochs is 1.5; expected a whole number"),
        ({"seed": True}, "seed is True; expected a whole number"),
        ({"learning_rate": None}, "learning_rate is None; expected a number"),
        ({"commercial_use": "no"}, "commercial_use is 'no'; expected true or false"),
        ({"version": 0.2}, "version is 0.2; expected text"),
        ({"labels": "happy"}, "labels is 'happy'; expected a list"),
        ({"corpora": ["tess"]}, r"corpora is \['tess'\]; expected a mapping"),
        (
            {"corpora": {"tess": {"clips_an_epoch": 3, "development": "OA", "test": []}}},
            "development is 'OA'; expected a",
        ),
    ],
)
def test_a_wrong_configuration_is_refused(change: dict[str, Any], message: str) -> None:
    values = {**RESEARCH.to_dict(), **change}
    values = {key: value for key, value in values.items() if value is not ABSENT}
    with pytest.raises(TrainingConfigError, match=message):
        TrainingConfig.from_dict(values)


@pytest.mark.parametrize("content", [b"", b"a: [", b"- a", b"\xff\xfe"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(TrainingConfigError, match="expected"):
        TrainingConfig.load(file)


def test_no_speaker_is_in_two_parts() -> None:
    split = split_clips(RESEARCH, CORPUS_CONTENTS)
    parts = [{(c.corpus, c.speaker) for c in part} for part in (split.train, split.development, split.test)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert parts[1] == {("ravdess", "15"), ("ravdess", "16")}
    assert parts[2] == {("ravdess", actor) for actor in ("17", "18", "19", "20")} | {("emodb", "14")}
    assert len(parts[0]) == 14 + 4 + 2


def test_clips_of_emotions_that_the_model_lacks_are_left_out() -> None:
    assert {c.emotion for c in split_clips(RESEARCH, CORPUS_CONTENTS).train} == set(RESEARCH.labels)
    assert any(c.emotion == "bored" for c in CORPUS_CONTENTS["emodb"].clips)


def test_corpora_and_speakers_must_be_those_of_the_configuration() -> None:
    with pytest.raises(TrainingConfigError, match=r"corpora given: \['ravdess'\]"):
        split_clips(RESEARCH, {"ravdess": CORPUS_CONTENTS["ravdess"]})
    few = {**CORPUS_CONTENTS, "ravdess": contents("ravdess", ["01", "15", "16", "17", "18", "19"])}
    with pytest.raises(TrainingConfigError, match=r"no speakers \['20'\]"):
        split_clips(RESEARCH, few)


def test_an_epoch_has_as_many_clips_of_each_emotion_of_a_corpus() -> None:
    clips = split_clips(RESEARCH, CORPUS_CONTENTS).train
    drawn = [clips[index] for index in draw_epoch(RESEARCH, clips, epoch=0)]
    counts = Counter((c.corpus, c.emotion) for c in drawn)
    assert {count for (corpus, _), count in counts.items() if corpus == "ravdess"} == {896 // 8}
    assert {count for (corpus, _), count in counts.items() if corpus == "emodb"} == {300 // 6}
    assert {count for (corpus, _), count in counts.items() if corpus == "tess"} == {490 // 7}
    times = Counter(c.path for c in drawn if c.corpus == "ravdess")
    assert max(times.values()) - min(times.values()) <= 1, "none comes again before all have come"


def test_epochs_differ_and_a_seed_repeats_them() -> None:
    clips = split_clips(RESEARCH, CORPUS_CONTENTS).train
    first = draw_epoch(RESEARCH, clips, 0)
    np.testing.assert_array_equal(first, draw_epoch(RESEARCH, clips, 0))
    assert (first != draw_epoch(RESEARCH, clips, 1)).any()
    assert (first != draw_epoch(config(seed=2), clips, 0)).any()


def test_loss_is_over_the_classes_that_the_corpus_has() -> None:
    logits = torch.tensor([[1.0, 2.0, 30.0], [1.0, 2.0, 3.0]], requires_grad=True)
    possible = torch.tensor([[True, True, False], [True, True, True]])
    loss = masked_loss(logits, torch.eye(3)[[0, 2]], possible, smoothing=0.0)
    assert loss[0].item() == pytest.approx(np.log(1 + np.e), abs=1e-5)
    assert loss[1].item() == pytest.approx(-np.log(softmax(np.array([[1, 2, 3]], np.float32))[0, 2]), abs=1e-5)
    loss.sum().backward()
    assert logits.grad[0, 2] == 0


def test_label_smoothing_spreads_over_the_same_classes() -> None:
    logits = torch.tensor([[1.0, 2.0, 30.0]])
    loss = masked_loss(logits, torch.eye(3)[[0]], torch.tensor([[True, True, False]]), smoothing=0.1)
    log_p = np.log(softmax(np.array([[1, 2]], np.float32)))[0]
    assert loss.item() == pytest.approx(-0.9 * log_p[0] - 0.1 * log_p.mean(), abs=1e-5)


def test_what_several_annotators_chose_is_learned_as_shares() -> None:
    logits, shares = torch.randn(4, 8), torch.softmax(torch.randn(4, 8), dim=1)
    ours = masked_loss(logits, shares, torch.ones(4, 8, dtype=torch.bool), smoothing=0.0)
    torch.testing.assert_close(ours, torch.nn.functional.cross_entropy(logits, shares, reduction="none"))


def test_masked_loss_is_torchs_where_a_corpus_has_all_classes() -> None:
    logits, truth = torch.randn(16, 8), torch.randint(0, 8, (16,))
    targets = torch.nn.functional.one_hot(truth, 8).float()
    ours = masked_loss(logits, targets, torch.ones(16, 8, dtype=torch.bool), smoothing=0.05)
    theirs = torch.nn.functional.cross_entropy(logits, truth, label_smoothing=0.05, reduction="none")
    torch.testing.assert_close(ours, theirs)


def test_padding_is_silence_up_to_the_longest() -> None:
    short, long = np.full((5, 64), 200, np.uint8), np.full((17, 64), 100, np.uint8)
    padded = pad_segments([short, long], SPEC).numpy()
    assert padded.shape == (2, 32, 64)
    np.testing.assert_array_equal(padded[0, :5], dequantize(short, SPEC))
    assert (padded[0, 5:] == -100).all()
    assert (padded[1, 17:] == -100).all()


# The network.


def segment(n_frames: int, seed: int = 0) -> np.ndarray:
    """A segment with a spectrum and a rhythm of its own."""
    random = np.random.default_rng(seed)
    spectrum = np.repeat(random.integers(60, 160, 8), 8)
    rhythm = 30 * np.abs(np.sin(random.uniform(0.1, 1) * np.arange(n_frames)))[:, None]
    return (spectrum + rhythm + random.integers(0, 10, (n_frames, 64))).astype(np.uint8)


@pytest.fixture(scope="module")
def network() -> EmotionNetwork:
    """A network whose normalisation has seen something, as after training."""
    torch.manual_seed(0)
    network = EmotionNetwork(8, SPEC.n_mels, SPEC.min_db)
    network.train()
    for seed in range(5):
        network(pad_segments([segment(100 + seed, 10 * seed + k) for k in range(8)], SPEC))
    # Untrained, it hardly tells one segment from another.
    network.classify.weight.data *= 30
    return network.eval()


@torch.no_grad()
def test_the_level_of_a_line_changes_nothing(network: EmotionNetwork) -> None:
    log_mel = pad_segments([segment(64)], SPEC)
    assert log_mel.max() < -20
    torch.testing.assert_close(network(log_mel + 15), network(log_mel), atol=1e-4, rtol=0)


@torch.no_grad()
def test_how_much_padding_there_is_changes_nothing(network: EmotionNetwork) -> None:
    """A batch in training pads to its longest segment, the classifier to the segment's own next multiple."""
    log_mel = pad_segments([segment(50)], SPEC)
    logits = [
        network(torch.cat([log_mel, torch.full((1, n_frames, 64), SPEC.min_db)], dim=1)) for n_frames in (32, 128)
    ]
    torch.testing.assert_close(logits[0], logits[1], atol=1e-4, rtol=0)
    assert (network(pad_segments([segment(50, 1)], SPEC)) - logits[0]).abs().max() > 0.05


def test_the_network_is_as_small_and_cheap_as_promised(network: EmotionNetwork) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    assert sum(parameter.numel() for parameter in network.parameters()) <= 500_000
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(pad_segments([segment(SPEC.n_frames(3 * SPEC.sample_rate_hz))], SPEC))
    # The counter counts multiplications and additions.
    assert counter.get_total_flops() / 2 <= 52e6


# A whole run on generated clips: low tones are neutral, high ones happy, rising ones sad.

TINY_LABELS = ("neutral", "happy", "sad")


@pytest.fixture(scope="module")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ravdess")
    random = np.random.default_rng(0)
    times_s = np.arange(8000) / 8000
    for actor in range(1, 5):
        for code, (low_hz, high_hz) in {"01": (300, 300), "03": (1500, 1500), "04": (300, 1500)}.items():
            for sentence in ("01", "02"):
                pitch_hz = np.linspace(low_hz, high_hz, 8000) * (1 + 0.05 * actor)
                tone = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch_hz) / 8000) + 0.01 * random.standard_normal(8000)
                name = f"03-01-{code}-01-{sentence}-01-{actor:02}.wav"
                soundfile.write(folder / name, tone * (1 + 0.1 * np.sin(20 * times_s)), 8000)
    return folder


@pytest.fixture(scope="module")
def tiny() -> TrainingConfig:
    values = RESEARCH.to_dict()
    values["corpora"] = {"ravdess": {"clips_an_epoch": 24, "development": ["03"], "test": ["04"]}}
    values |= {"labels": list(TINY_LABELS), "epochs": 4, "batch_size": 4, "name": "tiny", "teacher": None}
    return TrainingConfig.from_dict(values)


def run(
    tiny: TrainingConfig, corpus: Path, folder: Path, stop_after: int | None = None, encode: Encode | None = None
) -> list[str]:
    """Train, and stop in an epoch as an interruption does where one is named."""
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        if stop_after is not None and line.startswith(f"epoch {stop_after}/"):
            raise KeyboardInterrupt

    split = split_clips(tiny, {"ravdess": read_corpus("ravdess", corpus)})
    train(tiny, split, [], folder, report, encode)
    return lines


def weights(folder: Path) -> dict[str, Any]:
    return {name: value.clone() for name, value in load_run(folder)[1].state_dict().items()}


def hears_the_pitch(clip: Clip) -> np.ndarray:
    """A teacher's view in which emotions differ and speakers do not."""
    frames = np.random.default_rng(0).standard_normal((60, 1152))
    frames[:, 384:] += 3 * TINY_LABELS.index(clip.emotion)
    return frames.astype(np.float16)


def test_a_taught_run_is_resumed_too_and_needs_its_teacher(
    tmp_path: Path, tiny: TrainingConfig, tiny_corpus: Path
) -> None:
    taught = replace(tiny, teacher=TeacherConfig(labelled_by="ravdess", logits=1.0, embedding=1.0))
    with pytest.raises(TeacherError, match="name their file with --teacher"):
        run(taught, tiny_corpus, tmp_path / "none")
    run(taught, tiny_corpus, tmp_path / "whole", encode=hears_the_pitch)
    with pytest.raises(KeyboardInterrupt):
        run(taught, tiny_corpus, tmp_path / "cut", stop_after=2, encode=hears_the_pitch)
    run(taught, tiny_corpus, tmp_path / "cut", encode=hears_the_pitch)
    for name, value in weights(tmp_path / "whole").items():
        torch.testing.assert_close(weights(tmp_path / "cut")[name], value, atol=1e-6, rtol=1e-5)
    run(tiny, tiny_corpus, tmp_path / "alone")
    alone = weights(tmp_path / "alone")["classify.weight"]
    assert (alone - weights(tmp_path / "whole")["classify.weight"]).abs().max() > 1e-3, "its lessons count"


def test_an_interrupted_run_gives_what_an_uninterrupted_one_gives(
    tmp_path: Path, tiny: TrainingConfig, tiny_corpus: Path
) -> None:
    run(tiny, tiny_corpus, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tiny, tiny_corpus, tmp_path / "cut", stop_after=2)
    assert load_run(tmp_path / "cut")[2]["epochs_done"] == 2
    lines = run(tiny, tiny_corpus, tmp_path / "cut")
    assert lines[0] == "resuming after epoch 2"
    assert [line.split("  ")[0] for line in lines[1:]] == ["epoch 3/4", "epoch 4/4"]
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    for name in whole:
        torch.testing.assert_close(cut[name], whole[name], atol=1e-6, rtol=1e-5)
    rows = [(tmp_path / name / "curves.csv").read_text().splitlines() for name in ("whole", "cut")]
    curves = [[row.rpartition(",")[0] for row in lines] for lines in rows]  # all but the seconds
    assert curves[0] == curves[1]
    assert len(curves[0]) == 5


def checkpoint_weights(folder: Path, part: str) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(folder / "checkpoint.pt", weights_only=True)[part]
    return saved


def network_weights(folder: Path) -> dict[str, Any]:
    student = checkpoint_weights(folder, "student")
    return {name.removeprefix("network."): value for name, value in student.items() if name.startswith("network.")}


def test_a_run_gives_the_average_of_its_weights(tmp_path: Path, tiny: TrainingConfig, tiny_corpus: Path) -> None:
    folders = {decay: tmp_path / str(decay) for decay in (0.0, 0.9)}
    for decay, folder in folders.items():
        run(replace(tiny, epochs=2, average_decay=decay), tiny_corpus, folder)
        for name, value in checkpoint_weights(folder, "average").items():
            torch.testing.assert_close(load_run(folder)[1].state_dict()[name], value)
    without = checkpoint_weights(folders[0.0], "average")
    averaged = checkpoint_weights(folders[0.9], "average")
    for name, newest in network_weights(folders[0.0]).items():
        if newest.is_floating_point():
            torch.testing.assert_close(without[name], newest)
    for name in ("classify.weight", "stem.1.running_var"):
        newest = network_weights(folders[0.9])[name]
        assert (averaged[name] - newest).abs().max() > 1e-4, "it lags behind the newest"


def test_a_run_folder_of_another_configuration_is_refused(
    tmp_path: Path, tiny: TrainingConfig, tiny_corpus: Path
) -> None:
    run(replace(tiny, epochs=1), tiny_corpus, tmp_path)
    with pytest.raises(TrainingRunError, match="another configuration"):
        run(replace(tiny, epochs=2), tiny_corpus, tmp_path)


def test_an_exported_run_is_a_model_that_learned_its_task(
    tmp_path: Path, tiny: TrainingConfig, tiny_corpus: Path
) -> None:
    """Three sounds as different as these are told apart on a speaker that training never heard."""
    run(replace(tiny, epochs=25), tiny_corpus, tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "model", {"ravdess": read_corpus("ravdess", tiny_corpus)})
    classifier = Classifier.load(tmp_path / "model")
    card = classifier.card
    assert (card.name, card.labels, card.corpora) == ("tiny", TINY_LABELS, ("ravdess",))
    assert card.heard_speakers == {"ravdess": ("01", "02", "03")}
    assert card.evaluated_languages == ("en",)
    assert not card.commercial_use
    results = card.metrics["results"]
    assert [(result["condition"], result["n"], result["speakers"]) for result in results] == [
        (condition, 6, ["04"]) for condition in CONDITIONS
    ]
    assert results[0]["uar"] >= 0.8
    readme = (tmp_path / "model" / "README.md").read_text()
    assert f"| clean | 6 | {results[0]['uar']:.3f}" in readme
    assert "Article 5(1)(f)" in readme
    assert "$" not in readme, "a place of the template that was not filled"
    assert main(["describe", str(tmp_path / "model")]) == 0


def test_a_run_without_development_or_test_speakers_is_not_exported(
    tmp_path: Path, tiny: TrainingConfig, tiny_corpus: Path
) -> None:
    corpora = {"ravdess": replace(tiny.corpora["ravdess"], development=())}
    run(replace(tiny, epochs=1, corpora=corpora), tiny_corpus, tmp_path / "run")
    with pytest.raises(TrainingRunError, match="0 clips for development"):
        export_run(tmp_path / "run", tmp_path / "model", {"ravdess": read_corpus("ravdess", tiny_corpus)})


def test_a_run_on_all_speakers_is_calibrated_and_measured_by_its_recipes_crossvalidation(
    tmp_path: Path, tiny: TrainingConfig, tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two folds of the same recipe; the exported network hears everybody and its card has the folds' figures."""
    folds = tmp_path / "folds.yaml"
    held = {"1": ("03", "04"), "2": ("04", "03")}
    folds.write_text(
        yaml.safe_dump({fold: {"ravdess": {"development": [a], "test": [b]}} for fold, (a, b) in held.items()})
    )
    monkeypatch.setattr(crossvalidation, "FOLDS_FILE", folds)
    corpora = {"ravdess": read_corpus("ravdess", tiny_corpus)}
    everyone = replace(tiny, corpora={"ravdess": replace(tiny.corpora["ravdess"], development=(), test=())}, epochs=6)
    crossvalidation.crossvalidate(everyone, list(held), [1], corpora, [], tmp_path / "runs", lambda line: None)
    train(everyone, split_clips(everyone, corpora), [], tmp_path / "run", lambda line: None)
    export_run(tmp_path / "run", tmp_path / "model", corpora, tmp_path / "runs")
    card = Classifier.load(tmp_path / "model").card
    assert card.heard_speakers == {"ravdess": ("01", "02", "03", "04")}
    results = {result["condition"]: result for result in card.metrics["results"]}
    assert (results["g711"]["n"], results["g711"]["speakers"]) == (12, ["03", "04"])
    assert 0 < card.conformal_threshold < 1
    for fold, (_, tested) in held.items():
        figures = json.loads((tmp_path / "runs" / f"{fold}-1" / "figures.json").read_text())
        assert f"{figures['g711']:.3f}" in card.metrics["protocol"], tested
    assert "no figure here is its own" in card.metrics["protocol"]
    readme = (tmp_path / "model" / "README.md").read_text()
    assert "crossvalidate --config" in readme
    assert "--crossvalidation RUNS_FOLDER" in readme
    assert "$" not in readme

    export_run(tmp_path / "run", tmp_path / "int8", corpora, tmp_path / "runs", int8=True)
    in_integers = Classifier.load(tmp_path / "int8").card
    assert in_integers.version == f"{card.version}.int8"
    float_mean = re.search(r"g711, UAR by fold: seed 1: .*?, mean (\d\.\d+)", card.metrics["protocol"])[1]
    assert f"In float32 the same networks have {float_mean} instead of" in in_integers.metrics["protocol"]
    for result in in_integers.metrics["results"]:
        assert result["uar"] == pytest.approx(results[result["condition"]]["uar"], abs=0.2)
    readme = (tmp_path / "int8" / "README.md").read_text()
    assert "computed in 8-bit integers) over" in readme
    assert "--int8 --crossvalidation RUNS_FOLDER" in readme

    other = tmp_path / "other"
    train(replace(everyone, epochs=1), split_clips(everyone, corpora), [], other, lambda line: None)
    with pytest.raises(TrainingRunError, match="has 2 finished runs of folds; expected some, of the configuration"):
        export_run(other, tmp_path / "second", corpora, tmp_path / "runs")

    run = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    run["started_from"] = Ancestor("base-1", ("tess",), {"tess": ("OA",)}).to_dict()
    (tmp_path / "run" / "run.yaml").write_text(yaml.safe_dump(run))
    with pytest.raises(TrainingRunError, match="of the configuration and --init"):
        export_run(tmp_path / "run", tmp_path / "third", corpora, tmp_path / "runs")


def held_back(tiny: TrainingConfig, development: str, test: tuple[str, ...], **changes: Any) -> TrainingConfig:
    ravdess = replace(tiny.corpora["ravdess"], development=(development,), test=test)
    return replace(tiny, corpora={"ravdess": ravdess}, **changes)


@pytest.fixture(scope="module")
def first_model(tiny: TrainingConfig, tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that heard the speakers 01 and 02."""
    folder = tmp_path_factory.mktemp("first")
    run(held_back(tiny, "02", ("03", "04"), epochs=6), tiny_corpus, folder / "run")
    export_run(folder / "run", folder / "model", {"ravdess": read_corpus("ravdess", tiny_corpus)})
    return folder / "model"


def test_a_network_takes_over_what_a_model_computes(first_model: Path, tiny: TrainingConfig) -> None:
    log_mel = pad_segments([segment(n_frames, n_frames) for n_frames in (48, 96, 192)], SPEC)
    session = pytest.importorskip("onnxruntime").InferenceSession(first_model / "model.onnx")
    (wanted,) = session.run(["logits"], {"log_mel": log_mel.numpy()})
    labels = (*TINY_LABELS[1:], "calm")  # another order, one missing, one new
    torch.manual_seed(0)
    network = EmotionNetwork(len(labels), SPEC.n_mels, SPEC.min_db)
    load_weights(network, first_model, labels, log_mel)
    with torch.no_grad():
        taken_over = network.eval()(log_mel).numpy()[:, :-1]
        np.testing.assert_allclose(taken_over, wanted[:, 1:], atol=1e-3)
        # Where training begins: normalised by the batch itself.
        network.train().dropout.p = 0.0
        np.testing.assert_allclose(network(log_mel).numpy()[:, :-1], wanted[:, 1:], atol=0.1)
    assert np.ptp(wanted) > 0.3


def test_a_training_that_starts_from_a_model_has_heard_what_the_model_heard(
    tmp_path: Path, first_model: Path, tiny: TrainingConfig, tiny_corpus: Path
) -> None:
    further = held_back(tiny, "03", ("04",), epochs=1, learning_rate=1e-4)
    corpora = {"ravdess": read_corpus("ravdess", tiny_corpus)}
    split = split_clips(further, corpora)
    train(further, split, [], tmp_path / "run", lambda line: None, start_from=first_model)
    session = pytest.importorskip("onnxruntime").InferenceSession(first_model / "model.onnx")
    log_mel = pad_segments([segment(96, 1)], SPEC)
    (wanted,) = session.run(["logits"], {"log_mel": log_mel.numpy()})
    with torch.no_grad():
        begun = load_run(tmp_path / "run")[1](log_mel).numpy()
    assert np.abs(begun - wanted).max() < 0.3 * np.ptp(wanted), "an epoch of small steps away, not at chance"
    export_run(tmp_path / "run", tmp_path / "model", corpora)
    card = Classifier.load(tmp_path / "model").card
    assert card.heard_speakers == {"ravdess": ("01", "02", "03")}
    readme = (tmp_path / "model" / "README.md").read_text()
    assert f"starting from {Classifier.load(first_model).card.model_id}" in readme
    assert "--init MODEL_FOLDER" in readme
    with pytest.raises(TrainingRunError, match="another configuration or --init"):
        train(further, split, [], tmp_path / "run", lambda line: None)


@pytest.mark.parametrize(
    ("development", "changes", "message"),
    [
        ("02", {}, r"it heard speakers that are to be held back \(ravdess: 02\)"),
        ("03", {"commercial_use": True}, "it is not for commercial use"),
        ("03", {"labels": ("calm", "bored")}, "expected some of the configuration's labels"),
        ("03", {"features": replace(SPEC, hop_length=160)}, "it hears features"),
    ],
)
def test_a_training_does_not_start_from_a_model_that_would_spoil_it(
    tmp_path: Path, first_model: Path, tiny: TrainingConfig, development: str, changes: dict[str, Any], message: str
) -> None:
    config = held_back(tiny, development, ("04",), **changes)
    clips = [clip("ravdess", speaker, TINY_LABELS[0]) for speaker in ("01", "02", "03", "04")]
    split = split_clips(held_back(tiny, development, ("04",)), {"ravdess": CorpusContents(tuple(clips), (), ())})
    with pytest.raises(TrainingRunError, match=message):
        train(config, split, [], tmp_path / "run", lambda line: None, start_from=first_model)
    assert not (tmp_path / "run").exists()


def test_a_training_does_not_start_from_another_network(first_model: Path, tmp_path: Path) -> None:
    other = EmotionNetwork(len(TINY_LABELS), SPEC.n_mels, SPEC.min_db)
    other.blocks[0].first = torch.nn.Conv2d(16, 8, 3)
    with pytest.raises(TrainingRunError, match="not of this code's network"):
        load_weights(other, first_model, TINY_LABELS, torch.zeros(1, 48, SPEC.n_mels))


def test_exporting_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingRunError, match=r"no checkpoint\.pt"):
        export_run(tmp_path, tmp_path / "model", {})


@pytest.fixture(scope="module")
def exported(network: EmotionNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_network(network, SPEC, path)
    return path


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_exported_network_computes_the_same_in_every_batch(
    exported: Path, network: EmotionNetwork, batch_size: int
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    for n_frames in (16, 48, 192):
        log_mel = pad_segments([segment(n_frames, seed) for seed in range(batch_size)], SPEC)
        (logits,) = session.run(["logits"], {"log_mel": log_mel.numpy()})
        with torch.no_grad():
            alone = np.concatenate([network(row[None]).numpy() for row in log_mel])
        np.testing.assert_allclose(logits, alone, atol=1e-5)
        assert batch_size == 1 or np.ptp(alone, axis=0).max() > 0.1, "segments that all score alike prove nothing"


def test_in_integers_a_network_says_nearly_the_same_in_half_the_bytes(exported: Path, network: EmotionNetwork) -> None:
    """The convolutions between the first and the attention compute in integers, their averages with them."""
    inputs = [pad_segments([segment(16 * length, seed)], SPEC) for seed in range(20) for length in (3, 8, 12)]
    content = to_int8(exported.read_bytes(), (batch.numpy() for batch in inputs[::2]))
    assert len(content) < len(exported.read_bytes()) / 2
    counts = Counter(node.op_type for node in onnx.load_model_from_string(content).graph.node)
    assert counts["AveragePool"] == 0
    assert counts["Conv"] == 17
    weights = [tensor for tensor in onnx.load_model_from_string(content).graph.initializer if tensor.data_type == INT8]
    kernels = [onnx.numpy_helper.to_array(tensor) for tensor in weights if len(tensor.dims) > 1]
    assert len(kernels) == 17 - 2, "but for the first and the attention's last"
    assert max(abs(kernel.astype(int)).max() for kernel in kernels) <= 64
    in_integers = ExportedNetwork(content, SPEC)
    with torch.no_grad():
        expected = torch.cat([network(batch) for batch in inputs])
        found = torch.cat([in_integers(batch) for batch in inputs])
        together = in_integers(torch.cat(inputs[:1] * 3))
    assert (found - expected).abs().mean() < 0.1 * expected.std()
    assert (found.argmax(1) == expected.argmax(1)).float().mean() >= 0.9
    assert expected.argmax(1).bincount(minlength=8).max() < 50, "segments that are all called the same prove nothing"
    torch.testing.assert_close(together, found[:1].repeat(3, 1), atol=1e-4, rtol=0)


def test_the_exported_file_names_nothing_of_the_machine_that_made_it(exported: Path) -> None:
    content = exported.read_bytes()
    for trace in (b".py", str(Path.home()).encode(), str(exported.parent).encode(), b"site-packages"):
        assert trace not in content
    assert len(content) < 2e6
