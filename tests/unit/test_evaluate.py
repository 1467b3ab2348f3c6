"""Evaluation: each figure against one computed by hand, and no figure on speakers that the model heard."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from onnx import TensorProto, helper, numpy_helper

from ser_model.__main__ import SHIPPED_MODEL, main
from ser_model.classifier import Classifier, ModelCard
from ser_model.conditions import CONDITIONS
from ser_model.corpora import Clip, read_corpus
from ser_model.errors import EvaluationError
from ser_model.evaluate import (
    cut_segments,
    evaluate,
    figures,
    fit_conformal_threshold,
    fit_temperature,
    mood_uar,
    unheard_clips,
    unweighted_average_recall,
)
from ser_model.features import FeatureSpec
from ser_model.reliability import expected_calibration_error

SPEC = FeatureSpec()
LABELS = ("neutral", "happy", "surprised", "sad")


def rows(predicted: list[int], confidence: float = 0.7, n_classes: int = len(LABELS)) -> np.ndarray:
    """Probabilities that name these classes with this confidence."""
    result = np.full((len(predicted), n_classes), (1 - confidence) / (n_classes - 1), dtype=np.float32)
    result[np.arange(len(predicted)), predicted] = confidence
    return result


def clips(truth: list[int], speakers: list[str] | None = None) -> list[Clip]:
    speakers = speakers or ["01"] * len(truth)
    return [
        Clip(Path(f"{index}.wav"), "ravdess", speaker, LABELS[label])
        for index, (label, speaker) in enumerate(zip(truth, speakers, strict=True))
    ]


def test_figures_of_a_small_table() -> None:
    #        neutral x4   happy x2  surprised  sad
    truth = [0, 0, 0, 0, 1, 1, 2, 3]
    named = [0, 0, 0, 1, 1, 0, 2, 2]
    result = figures(rows(named), clips(truth), LABELS, "clean", conformal_threshold=0.5, unchanged=1.0)
    assert result.n == 8
    assert result.confusion == ((3, 1, 0, 0), (1, 1, 0, 0), (0, 0, 1, 0), (0, 0, 1, 0))
    assert result.accuracy == pytest.approx(5 / 8)
    assert result.uar == pytest.approx((3 / 4 + 1 / 2 + 1 + 0) / 4)
    neutral, surprised, sad = (result.per_class[label] for label in ("neutral", "surprised", "sad"))
    assert (neutral.precision, neutral.recall, neutral.f1, neutral.n) == (0.75, 0.75, 0.75, 4)
    assert (surprised.precision, surprised.recall, surprised.f1) == pytest.approx((0.5, 1, 2 / 3))
    assert (sad.precision, sad.recall, sad.f1, sad.n) == (0, 0, 0, 1)
    assert result.macro_f1 == pytest.approx((0.75 + 0.5 + 2 / 3 + 0) / 4)
    assert result.ece == pytest.approx(abs(5 / 8 - 0.7), abs=1e-6)
    assert (result.conformal_coverage, result.conformal_size) == pytest.approx((5 / 8, 1))
    assert result.uar_by_sex == {}


def test_figures_of_each_sex_and_of_the_certain() -> None:
    probabilities = np.concatenate([rows([0, 1, 0, 0], 0.9), rows([2, 2, 2, 2], 0.4)])
    heard = [
        replace(clip, sex="female" if index < 4 else "male")
        for index, clip in enumerate(clips([0, 1, 0, 0, 2, 2, 3, 0]))
    ]
    result = figures(probabilities, heard, LABELS, "clean", 0.5, unchanged=1.0)
    assert result.uar_by_sex == pytest.approx({"female": 1, "male": 1 / 3})
    assert result.accuracy == 6 / 8
    assert result.accuracy_of_the_certain == 4 / 6, "two of the four that it is least sure of are left out: the first"


def test_an_emotion_that_does_not_occur_counts_in_no_mean() -> None:
    result = figures(rows([0, 1]), clips([0, 1]), LABELS, "clean", 0.5, unchanged=1.0)
    assert (result.uar, result.macro_f1) == (1, 1)


@pytest.mark.parametrize(
    ("probabilities", "truth", "ece"),
    [
        (rows([0, 0, 0, 0], 0.75), [0, 0, 0, 1], 0.0),
        (rows([0, 0, 0, 0], 0.75), [0, 0, 0, 0], 0.25),
        (rows([0] * 4 + [1] * 4, 1.0), [0] * 8, 0.5),
        (np.concatenate([rows([0, 0], 0.5), rows([0, 0], 1.0)]), [0, 0, 0, 0], 0.25),
    ],
)
def test_expected_calibration_error(probabilities: np.ndarray, truth: list[int], ece: float) -> None:
    assert expected_calibration_error(probabilities, np.array(truth)) == pytest.approx(ece, abs=1e-6)


def test_mood_uar_sums_the_emotions_of_a_mood_and_leaves_the_ambiguous_out() -> None:
    labels = ("neutral", "calm", "happy", "surprised", "sad", "angry")
    probabilities = np.array(
        [
            [0.20, 0.25, 0.30, 0.00, 0.20, 0.05],  # neutral 0.45 beats happy, the single highest
            [0.00, 0.00, 0.40, 0.00, 0.25, 0.35],  # negative 0.60
            [0.00, 0.00, 0.00, 1.00, 0.00, 0.00],  # surprised: not counted
            [0.10, 0.00, 0.80, 0.00, 0.05, 0.05],  # positive
            [0.90, 0.00, 0.10, 0.00, 0.00, 0.00],  # neutral, in truth angry
        ],
        dtype=np.float32,
    )
    truth = np.array([labels.index(name) for name in ("calm", "sad", "surprised", "happy", "angry")])
    assert mood_uar(probabilities, truth, labels) == pytest.approx((1 / 2 + 1 + 1) / 3)


def test_interval_is_over_speakers_not_clips() -> None:
    """One speaker always right, one always wrong: a hundred clips each make the figure no surer."""
    truth, speakers = [0, 1] * 100, ["01"] * 100 + ["02"] * 100
    named = truth[:100] + [2] * 100
    low, high = figures(rows(named), clips(truth, speakers), LABELS, "clean", 0.5, unchanged=1.0).uar_interval
    assert (low, high) == (0, 1)


def test_intervals_are_those_of_drawing_speakers_and_measuring_anew() -> None:
    """The figures of a draw are computed from counts by speaker; here each from the drawn clips themselves."""
    random = np.random.default_rng(5)
    truth, speakers = random.integers(4, size=300), [f"{i % 6:02}" for i in range(300)]
    probabilities = random.dirichlet([0.5] * 4, 300).astype(np.float32)
    probabilities[np.arange(300), truth] += np.array([float(name) for name in speakers], np.float32) / 4
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    result = figures(probabilities, clips(truth.tolist(), speakers), LABELS, "clean", 0.5, unchanged=1.0)
    measured: dict[str, list[float]] = {name: [] for name in ("uar", *result.intervals)}
    for _ in range(500):
        drawn = np.concatenate([np.flatnonzero(np.array(speakers) == f"{i:02}") for i in random.integers(6, size=6)])
        again = figures(probabilities[drawn], clips(truth[drawn].tolist()), LABELS, "clean", 0.5, unchanged=1.0)
        for name, values in measured.items():
            values.append(getattr(again, name))
    for name, interval in {**result.intervals, "uar": result.uar_interval}.items():
        np.testing.assert_allclose(interval, np.percentile(measured[name], [2.5, 97.5]), atol=0.05, err_msg=name)
        assert interval[0] < getattr(result, name) < interval[1]


def test_unweighted_average_recall_ignores_how_many_clips_a_class_has() -> None:
    assert unweighted_average_recall(np.array([0] * 99 + [1]), np.array([0] * 100)) == 0.5


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    random = np.random.default_rng(0)
    logits = (2 * random.standard_normal((20_000, 4))).astype(np.float32)
    exponentials = np.exp(logits / temperature)
    cumulated = (exponentials / exponentials.sum(axis=1, keepdims=True)).cumsum(axis=1)
    truth = (random.random((len(logits), 1)) > cumulated).sum(axis=1).clip(max=3)
    assert fit_temperature(logits, truth) == pytest.approx(temperature, rel=0.05)


def test_conformal_sets_cover_clips_that_they_were_not_fitted_on() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([0.5] * 8, 4000).astype(np.float32)
    # Labels that follow other probabilities than those stated: coverage must not depend on calibration.
    truth = np.array([random.choice(8, p=(row**0.3) / (row**0.3).sum()) for row in probabilities.astype(float)])
    threshold = fit_conformal_threshold(probabilities[:2000], truth[:2000])
    covered = probabilities[2000:][np.arange(2000), truth[2000:]] >= threshold
    assert covered.mean() == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(("n", "threshold"), [(9, 0.1), (8, 0.0), (19, 0.2)])
def test_conformal_threshold_of_few_clips(n: int, threshold: float) -> None:
    """The (n + 1)(1 - coverage)-th smallest probability of the truth; none when there are too few clips to tell."""
    of_truth = np.arange(1, n + 1) / 10 / 2 if n == 19 else np.arange(1, n + 1) / 10
    probabilities = np.zeros((n, 2), np.float32)
    probabilities[:, 0] = of_truth * (2 if n == 19 else 1)
    assert fit_conformal_threshold(probabilities, np.zeros(n, dtype=np.intp)) == pytest.approx(threshold)


@pytest.mark.parametrize(("seconds", "count"), [(0.5, 1), (3.0, 1), (3.01, 2), (6.0, 2), (7.0, 3)])
def test_segments_are_equal_and_at_most_3_s(seconds: float, count: int) -> None:
    samples = np.arange(int(seconds * 8000), dtype=np.float32)
    pieces = cut_segments(samples, 8000)
    assert len(pieces) == count
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1
    np.testing.assert_array_equal(np.concatenate(pieces), samples)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that hears high sounds as happy, middle ones as sad, low ones as neutral, trained on RAVDESS but 17."""
    bands = np.zeros((SPEC.n_mels, 3), np.float32)
    bands[:20, 0] = bands[20:40, 2] = bands[40:60, 1] = 0.02
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["log_mel"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("MatMul", ["mean", "bands"], ["logits"]),
        ],
        "bands",
        [helper.make_tensor_value_info("log_mel", TensorProto.FLOAT, ("batch", "frames", SPEC.n_mels))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 3))],
        [numpy_helper.from_array(bands, "bands")],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    content = network.SerializeToString()
    card = ModelCard(
        name="bands",
        version="1",
        sha256=hashlib.sha256(content).hexdigest(),
        labels=("neutral", "happy", "sad"),
        feature_spec=SPEC,
        temperature=1.0,
        conformal_threshold=0.1,
        commercial_use=True,
        license="CC0-1.0",
        corpora=("ravdess",),
        training_commit="abc",
        metrics={},
        heard_speakers={"ravdess": ("15", "16")},
    )
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(content)
    (folder / "model.yaml").write_text(yaml.safe_dump(card.to_dict()))
    return folder


@pytest.fixture
def ravdess(tmp_path: Path) -> Path:
    """Tones with RAVDESS's names: low for neutral, high for happy, middle for sad; actor 16's are the other way."""
    folder = tmp_path / "ravdess"
    frequencies_hz = {"01": 150, "03": 3000, "04": 1000}
    for actor in ("16", "17"):
        for code, frequency_hz in frequencies_hz.items():
            if actor == "16":
                frequency_hz = {150: 3000, 3000: 1000, 1000: 150}[frequency_hz]
            for take in ("01", "02"):
                path = folder / f"Actor_{actor}" / f"03-01-{code}-01-01-{take}-{actor}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                times_s = np.arange(16_000 * int(take)) / 16_000
                # Each clip with a level of its own: the same bytes would be a duplicate.
                soundfile.write(path, int(actor) / 50 * np.sin(2 * np.pi * frequency_hz * times_s), 16_000)
    return folder


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_command_measures_on_unheard_speakers_alone(
    tmp_path: Path, model: Path, ravdess: Path, condition: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    command = ["evaluate", "--model", str(model), "--corpus", f"ravdess={ravdess}", "--condition", condition]
    assert main([*command, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    required = {"uar", "accuracy", "macro_f1", "ece", "n", "per_class", "confusion", "labels", "condition", "mood_uar"}
    assert required <= set(result)
    # In noise with speech's spectrum a model that tells three bands apart calls everything by the lowest.
    uar = pytest.approx(1 / 3, abs=1e-4) if condition.startswith("noise") else 1
    assert (result["uar"], result["unchanged"], result["n"], result["speakers"]) == (uar, uar, 6, ["17"])
    assert (result["condition"], result["labels"]) == (condition, ["neutral", "happy", "sad"])
    assert ("noise" in result) == condition.startswith("noise")
    assert set(result["intervals"]) == {"accuracy", "macro_f1", "ece", "mood_uar"}
    assert f"ravdess, {condition}: UAR {result['uar']:.3f}" in capsys.readouterr().out


def test_the_command_measures_on_other_speakers_when_told(tmp_path: Path, model: Path, ravdess: Path) -> None:
    out = tmp_path / "figures.json"
    command = ["evaluate", "--model", str(model), "--corpus", f"ravdess={ravdess}", "--speakers", "16"]
    assert main([*command, "--json", str(out)]) == 0
    assert json.loads(out.read_text())["uar"] == 0


def test_the_command_ends_with_one_line_where_there_is_nothing_to_measure(
    model: Path, ravdess: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--model", str(model), "--corpus", f"ravdess={ravdess}", "--condition", "loud"]
    assert main(command) == 1
    assert (
        capsys.readouterr().err == "evaluation_invalid: no condition 'loud'; expected one of " + f"{list(CONDITIONS)}\n"
    )


def test_describe_prints_what_a_model_is(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", str(model)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("bands 1 (bands-1-")
    assert "labels     neutral, happy, sad" in out
    assert "trained on ravdess: RAVDESS, speech (English, North American); CC BY-NC-SA 4.0" in out
    assert "none that this program understands" in out, "its card has no figures"
    assert "measured in no language that it names" in out
    assert main(["describe"]) == 0
    shipped = capsys.readouterr().out
    assert "385,296 parameters, 0.44 MB, opset 18" in shipped
    assert "ravdess, g711: UAR 0.6" in shipped
    assert "it calls amused, bored, sleepy by the name of another emotion" in shipped
    assert "measured in en, de; in no other language" in shipped
    assert "not for commercial use" in shipped


def test_training_without_torch_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ravdess: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    command = ["train", "--config", "x.yaml", "--run", str(tmp_path), "--corpus", f"ravdess={ravdess}"]
    assert main(command) == 1
    assert "python -m pip install torch" in capsys.readouterr().err


def test_corpora_are_listed(ravdess: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["corpora"]) == 0
    assert "TurEV-DB" in capsys.readouterr().out
    assert main(["corpora", "--corpus", f"ravdess={ravdess}"]) == 0
    assert "12 clips of 2 speakers; 0 duplicates dropped, 0 not understood" in capsys.readouterr().out


def test_only_unheard_speakers_are_measured(model: Path) -> None:
    card = ModelCard.load(model)
    heard, unheard = (Clip(Path("x.wav"), "ravdess", speaker, "sad") for speaker in ("16", "17"))
    assert unheard_clips(card, "ravdess", [heard, unheard]) == (unheard,)
    assert unheard_clips(card, "emodb", [heard]) == (heard,), "a corpus that it never heard"
    with pytest.raises(EvaluationError, match="was trained on ravdess"):
        unheard_clips(card, "ravdess", [heard])
    with pytest.raises(EvaluationError, match="was trained on ravdess"):
        unheard_clips(replace(card, heard_speakers={}), "ravdess", [unheard])


def test_clips_of_no_known_emotion_are_refused(model: Path, ravdess: Path) -> None:
    angry = Clip(ravdess / "none.wav", "ravdess", "17", "angry")
    with pytest.raises(EvaluationError, match="none of 1 clips has an emotion of the model"):
        evaluate(Classifier.load(model), [angry], "clean")
    with pytest.raises(EvaluationError, match="expected one corpus"):
        evaluate(Classifier.load(model), [angry, replace(angry, corpus="tess")], "clean")


def test_all_conditions_are_measured_at_once(tmp_path: Path, model: Path, ravdess: Path) -> None:
    out = tmp_path / "figures.json"
    command = ["evaluate", "--model", str(model), "--corpus", f"ravdess={ravdess}", "--condition", "all"]
    assert main([*command, "--json", str(out)]) == 0
    assert [result["condition"] for result in json.loads(out.read_text())] == list(CONDITIONS)


def test_a_clip_that_is_too_short_to_be_heard_is_named(model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "03-01-01-01-01-01-17.wav", np.zeros(100), 8000)
    with pytest.raises(EvaluationError, match=r"03-01-01-01-01-01-17\.wav has 0\.013 s of sound"):
        evaluate(Classifier.load(model), read_corpus("ravdess", tmp_path).clips, "clean")


def test_what_the_condition_changes_is_counted(model: Path, ravdess: Path) -> None:
    """A line that turns everything into a low tone leaves only the calls of the low one as they were."""
    classifier = Classifier.load(model)
    heard = [clip for clip in read_corpus("ravdess", ravdess).clips if clip.speaker == "17"]
    tone = (0.5 * np.sin(2 * np.pi * 150 * np.arange(24_000) / 8000)).astype(np.float32)
    result = evaluate(classifier, heard, "low", {**CONDITIONS, "low": lambda samples, _=0: tone[: len(samples)]})
    assert result.unchanged == pytest.approx(1 / 3)


def test_pieces_that_annotators_do_not_agree_on_are_not_measured(model: Path, ravdess: Path) -> None:
    heard = read_corpus("ravdess", ravdess).clips
    split = [replace(clip, annotations=("sad", "happy")) for clip in heard if clip.speaker == "17"][:2]
    agreed = [clip for clip in heard if clip.speaker == "17"][2:]
    assert evaluate(Classifier.load(model), [*split, *agreed], "clean").n == len(agreed)


@pytest.mark.shared
def test_the_shipped_model_is_better_on_speakers_whom_it_heard_than_its_recipe_on_others(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its card's figures are of networks that never heard the speaker; this measures it on what it was trained on."""
    out = tmp_path / "figures.json"
    command = ["evaluate", "--corpus", f"ravdess={shared_dir / 'corpora' / 'ravdess'}", "--json", str(out)]
    assert main(command) == 1
    assert "heard all speakers given" in capsys.readouterr().err
    assert main([*command, "--speakers", "09,10,17,18"]) == 0
    (stated,) = [
        result
        for result in ModelCard.load(SHIPPED_MODEL).metrics["results"]
        if (result["corpus"], result["condition"]) == ("ravdess", "g711")
    ]
    measured = json.loads(out.read_text())
    assert stated["speakers"] == [f"{actor:02}" for actor in range(1, 21)]
    assert measured["uar"] > stated["uar_interval"][1] + 0.1
