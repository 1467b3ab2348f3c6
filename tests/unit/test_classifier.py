"""The classifier: a model folder is checked before it is believed, and a segment's result is its own."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_models import (
    LABELS,
    SPEC,
    WAVEFORM_CARD,
    WAVEFORM_WEIGHTS,
    WEIGHTS,
    card_values,
    network,
    waveform_network,
    write_model,
)

from ser_model.classifier import Classifier, ModelCard, emotion_set, softmax
from ser_model.corpora import CORPORA
from ser_model.errors import (
    ModelCardError,
    ModelContractError,
    ModelFolderError,
    ModelHashError,
    SegmentError,
)
from ser_model.features import FeatureSpec, dequantize

SEGMENT_LENGTHS = (1, 15, 16, 17, 60, 100, 185)
MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Writes a model folder."""
    return partial(write_model, tmp_path)


def segments(count: int, lengths: tuple[int, ...] = SEGMENT_LENGTHS) -> list[np.ndarray]:
    """Segments, each with a spectrum of its own."""
    random = np.random.default_rng(3)
    spectra = random.integers(0, 200, (count, SPEC.n_mels))
    return [
        (spectrum + random.integers(0, 56, (lengths[index % len(lengths)], SPEC.n_mels))).astype(np.uint8)
        for index, spectrum in enumerate(spectra)
    ]


def expected(segment: np.ndarray, temperature: float = 2.0) -> np.ndarray:
    """The network computed by numpy in double precision: padded by the segment's own length, averaged, multiplied."""
    padding = -len(segment) % SPEC.pad_frames
    padded = np.concatenate([segment, np.zeros((padding, SPEC.n_mels), np.uint8)])
    logits = dequantize(padded, SPEC).astype(np.float64).mean(axis=0) @ WEIGHTS / temperature
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def test_probabilities_are_the_networks_in_the_order_given(make_folder: MakeFolder) -> None:
    given = segments(40)
    result = Classifier.load(make_folder()).probabilities(given)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [expected(segment) for segment in given], atol=1e-5)
    np.testing.assert_allclose(result.sum(axis=1), 1, atol=1e-6)
    assert np.ptp(result, axis=0).min() > 0.1, "segments that all score alike would prove nothing"


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_segments_result_does_not_depend_on_its_batch(make_folder: MakeFolder, batch_size: int) -> None:
    classifier, given = Classifier.load(make_folder()), segments(130)
    alone = np.concatenate([classifier.probabilities([segment]) for segment in given])
    np.testing.assert_allclose(classifier.probabilities(given, batch_size=batch_size), alone, atol=1e-5)
    reversed_order = classifier.probabilities(given[::-1], batch_size=batch_size)[::-1]
    np.testing.assert_allclose(reversed_order, alone, atol=1e-5)


def test_batches_have_the_size_asked_for(make_folder: MakeFolder) -> None:
    """Segments of 60 and of 64 frames are padded to the same length, so they share batches."""
    classifier = Classifier.load(make_folder())
    sizes = []
    run = classifier._run
    classifier._run = lambda batch, n: (sizes.append(len(batch)), run(batch, n))[1]  # type: ignore[method-assign]
    classifier.probabilities(segments(7, lengths=(60, 64)), batch_size=3)
    assert sizes == [3, 3, 1]


def test_no_segment_gives_no_row(make_folder: MakeFolder) -> None:
    assert Classifier.load(make_folder()).probabilities([]).shape == (0, 3)


@pytest.mark.parametrize(
    "segment",
    [
        np.zeros((10, 64), np.float32),
        np.zeros((10, 40), np.uint8),
        np.zeros((640,), np.uint8),
        np.zeros((0, 64), np.uint8),
    ],
)
def test_a_segment_of_another_kind_is_refused(make_folder: MakeFolder, segment: np.ndarray) -> None:
    classifier = Classifier.load(make_folder())
    with pytest.raises(SegmentError, match=r"segment 1 is .* expected uint8"):
        classifier.probabilities([np.zeros((10, 64), np.uint8), segment])


def test_a_network_that_returns_no_number_for_a_segment_is_named(make_folder: MakeFolder) -> None:
    """Loading tries silence only; the square root of a positive mean is fine there and not at other levels."""
    model = network()
    model.graph.node[1].output[0] = "product"
    model.graph.node.append(helper.make_node("Sqrt", ["product"], ["logits"]))
    below_zero_everywhere = np.full_like(WEIGHTS, -1)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(below_zero_everywhere, "weights"))
    classifier = Classifier.load(
        make_folder(
            model, {"features": {**SPEC.to_dict(), "max_db": 20.0}, "feature_hash": FeatureSpec(max_db=20.0).hash}
        )
    )
    with pytest.raises(SegmentError, match="not finite"):
        classifier.probabilities([np.full((16, 64), 255, np.uint8)])


def test_card_and_repr_say_what_the_model_is(make_folder: MakeFolder) -> None:
    told = {"heard_speakers": {"emodb": ["09"]}, "evaluated_languages": ["de", "hsb"]}
    classifier = Classifier.load(make_folder(change=told))
    card = classifier.card
    assert card.labels == LABELS
    assert card.feature_spec == SPEC
    assert card.model_id == f"mean-1.0-{card.sha256[:8]}"
    assert card.heard_speakers == {"emodb": ("09",)}
    assert card.evaluated_languages == ("de", "hsb")
    assert ModelCard.from_dict(card.to_dict()) == card
    for part in (card.model_id, "log_mel: float32 [batch, frames, 64]", "neutral, happy, angry", "8000 Hz", "CC0-1.0"):
        assert part in repr(classifier)


def test_a_card_without_what_may_be_omitted(make_folder: MakeFolder) -> None:
    card = ModelCard.load(make_folder())
    assert ModelCard.from_dict(card.to_dict()) == card
    assert (card.heard_speakers, card.evaluated_languages) == ({}, ())


@pytest.mark.parametrize("key", sorted(card_values(b"")))
def test_a_missing_key_is_named(make_folder: MakeFolder, key: str) -> None:
    with pytest.raises(ModelCardError, match=f"has no {key};"):
        Classifier.load(make_folder(change={key: None}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1.0}, r"version .* expected str: put it in quotes"),
        ({"name": "my model"}, "name is 'my model'"),
        ({"input": "spectrogram"}, "input .* is 'spectrogram'; expected log_mel or waveform"),
        ({"input": "waveform"}, r"features .* expected exactly \['pad_samples', 'sample_rate_hz'\]"),
        ({"labels": ["neutral", "happy", "joyful"]}, "joyful"),
        ({"labels": ["neutral", "happy", "happy"]}, "different ones"),
        ({"labels": "neutral"}, "labels .* expected list"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"temperature": True}, "temperature .* is True"),
        ({"conformal_threshold": 1.5}, r"conformal_threshold is 1\.5"),
        ({"commercial_use": "no"}, "commercial_use .* expected bool"),
        ({"sha256": "abc"}, "expected 64 hexadecimal digits"),
        ({"features": {"n_mels": 64}}, r"features .* missing \['f_max_hz'"),
        ({"evaluated_languages": "en"}, "evaluated_languages .* expected list"),
        ({"evaluated_languages": ["English"]}, r"evaluated_languages are \['English'\]; expected .* such as en"),
        ({"evaluated_languages": ["en-US"]}, "primary language subtags"),
        ({"evaluated_languages": ["en", "en"]}, "expected different"),
        ({"evaluated_languages": [False]}, "YAML reads them otherwise: 'no'"),
        ({"evaluated_languages": [["en"]]}, "expected different"),
        ({"heard_speakers": ["01"]}, "heard_speakers .* expected dict"),
        ({"labels": ["neutral", ["happy"]]}, "different ones"),
        ({"temperature": 10**400}, "expected a positive number"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({3: 4, "name": 5}, "name .* is 5"),
    ],
)
def test_a_wrong_value_is_named(make_folder: MakeFolder, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelCardError, match=message):
        Classifier.load(make_folder(change=change))


@pytest.mark.parametrize("name", ["model.onnx", "model.yaml"])
def test_a_missing_file_is_named(make_folder: MakeFolder, name: str) -> None:
    folder = make_folder()
    (folder / name).unlink()
    with pytest.raises(ModelFolderError, match=f"no {name}"):
        Classifier.load(folder)


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "", "[" * 20_000, "day: 2026-99-99", "x" * 1_000_001])
def test_a_card_that_is_no_mapping_is_refused(make_folder: MakeFolder, text: str) -> None:
    folder = make_folder()
    (folder / "model.yaml").write_text(text)
    with pytest.raises(ModelFolderError, match=r"model\.yaml"):
        Classifier.load(folder)


def test_a_changed_network_is_refused(make_folder: MakeFolder) -> None:
    folder = make_folder()
    (folder / "model.onnx").write_bytes(network(weights=2 * WEIGHTS).SerializeToString())
    with pytest.raises(ModelHashError, match="the network was changed"):
        Classifier.load(folder)


def test_changed_features_are_refused(make_folder: MakeFolder) -> None:
    with pytest.raises(ModelHashError, match="feature_hash"):
        Classifier.load(make_folder(change={"features": {**SPEC.to_dict(), "hop_length": 80}}))


def test_a_file_that_is_no_network_is_refused(make_folder: MakeFolder) -> None:
    with pytest.raises(ModelFolderError, match="not a network"):
        Classifier.load(make_folder(b"not ONNX"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (network(input_name="spectrogram"), "has inputs .*spectrogram.* expected one input, log_mel"),
        (network(output_name="scores"), "has outputs .*scores.* expected one output, logits"),
        (network(input_shape=("batch", "frames", 40)), r"has inputs .*40.* \[any, any, 64\]"),
        (network(input_shape=(1, "frames", 64)), "fails on 2 segments"),
        (network(input_shape=("batch", 16, 64)), "fails on 2 segments of length 48"),
        (network(n_outputs=4), r"has outputs .*4.* \[any, 3\]"),
        (network(weights=np.full_like(WEIGHTS, np.nan)), "expected finite numbers"),
    ],
    ids=["input name", "output name", "bands", "fixed batch", "fixed frames", "classes", "not a number"],
)
def test_a_network_that_breaks_the_contract_is_refused(
    make_folder: MakeFolder, model: onnx.ModelProto, message: str
) -> None:
    with pytest.raises(ModelContractError, match=message):
        Classifier.load(make_folder(model))


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/absolute/weights.bin"])
def test_weights_outside_the_network_file_are_refused(
    tmp_path: Path, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    """The hash covers one file: weights in another, wherever it is, could be exchanged."""
    tmp_path = tmp_path / "model"
    tmp_path.mkdir()
    for place in (tmp_path, tmp_path.parent):
        (place / "weights.bin").write_bytes(WEIGHTS.tobytes())
    model = network()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(WEIGHTS.nbytes)}.items():
        tensor.external_data.add(key=key, value=value)
    folder = make_folder(model)
    (folder / "weights.bin").write_bytes(WEIGHTS.tobytes())
    monkeypatch.chdir(folder)
    with pytest.raises(ModelFolderError, match="weights outside itself"):
        Classifier.load(folder)


def test_operators_of_ones_own_are_refused(make_folder: MakeFolder) -> None:
    """They would be code: ONNX Runtime has a library of them only if it is told so, and it is told nothing."""
    model = network()
    model.graph.node[1].op_type, model.graph.node[1].domain = "RunThis", "org.evil"
    model.opset_import.append(onnx.helper.make_opsetid("org.evil", 1))
    with pytest.raises(ModelFolderError, match="not a network that ONNX Runtime can load"):
        Classifier.load(make_folder(model))


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_model_may_hear_samples(make_folder: MakeFolder, batch_size: int) -> None:
    classifier = Classifier.load(make_folder(waveform_network(), WAVEFORM_CARD))
    random = np.random.default_rng(1)
    lengths = [1, 99, 100, 101, 5000] * 14
    given = [(random.integers(-32768, 32768, n) // 2 ** random.integers(8)).astype(np.int16) for n in lengths]
    result = classifier.probabilities(given, batch_size)
    for row, samples in zip(result, given, strict=True):
        mean = np.abs(samples / 32768).sum() / (-(-len(samples) // 100) * 100)
        exponentials = np.exp(mean * WAVEFORM_WEIGHTS[0].astype(float) / 2)
        np.testing.assert_allclose(row, exponentials / exponentials.sum(), atol=1e-5)
    assert ModelCard.from_dict(classifier.card.to_dict()) == classifier.card
    assert "waveform: float32 [batch, samples]" in repr(classifier)


@pytest.mark.parametrize("segment", [np.zeros(10, np.float32), np.zeros((10, 1), np.int16), np.zeros(0, np.int16)])
def test_samples_of_another_kind_are_refused(make_folder: MakeFolder, segment: np.ndarray) -> None:
    classifier = Classifier.load(make_folder(waveform_network(), WAVEFORM_CARD))
    with pytest.raises(SegmentError, match=r"expected int16 of shape \('at least 1',\)"):
        classifier.probabilities([segment])


def test_a_waveform_network_of_one_length_is_refused(make_folder: MakeFolder) -> None:
    with pytest.raises(ModelContractError, match="fails on 2 segments of length 300"):
        Classifier.load(make_folder(waveform_network(("batch", 100)), WAVEFORM_CARD))


def test_the_session_has_one_thread(make_folder: MakeFolder) -> None:
    options = Classifier.load(make_folder())._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


@pytest.mark.parametrize(
    ("row", "threshold", "emotions"),
    [
        ([0.2, 0.5, 0.3], 0.25, ["happy", "angry"]),
        ([0.2, 0.5, 0.3], 0.2, ["happy", "angry", "neutral"]),
        ([0.2, 0.5, 0.3], 0.9, ["happy"]),
        ([0.4, 0.4, 0.2], 0.5, ["neutral"]),
        ([0.2, 0.5, 0.3], 0.0, ["happy", "angry", "neutral"]),
    ],
)
def test_emotion_set(row: list[float], threshold: float, emotions: list[str]) -> None:
    assert emotion_set(row, LABELS, threshold) == emotions


def test_softmax_of_large_logits_is_finite() -> None:
    np.testing.assert_allclose(softmax(np.array([[1000.0, 0.0]], np.float32)), [[1, 0]])


def test_temperature_softens() -> None:
    logits = np.array([[2.0, 0.0]], np.float32)
    assert softmax(logits, 2.0)[0, 0] == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-6)


def test_importing_the_classifier_brings_no_heavy_library() -> None:
    """A worker starts with it."""
    code = "import sys, ser_model.classifier; print(sorted({'torch', 'librosa', 'onnx', 'pandas'} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SHIPPED = Path(__file__).parents[2] / "ser_model" / "models" / "research"


def test_the_shipped_model_keeps_the_contract_and_its_licence_is_stated() -> None:
    classifier = Classifier.load(SHIPPED)
    card = classifier.card
    assert card.feature_spec == SPEC
    assert set(card.labels) == {"neutral", "calm", "happy", "surprised", "sad", "angry", "fearful", "disgusted"}
    assert not card.commercial_use
    assert card.license == "CC BY-NC-SA 4.0"
    assert card.license in (SHIPPED / "LICENSE-WEIGHTS").read_text()
    assert card.model_id in (SHIPPED / "README.md").read_text()
    assert (SHIPPED / "model.onnx").stat().st_size <= 2_000_000
    # What export writes: the languages of the corpora that it was measured on.
    measured = [CORPORA[result["corpus"]].language for result in card.metrics["results"]]
    assert card.evaluated_languages == tuple(dict.fromkeys(measured)) == ("en", "de")


def test_the_open_model_heard_nothing_that_forbids_commercial_use() -> None:
    folder = SHIPPED.parent / "open"
    card = Classifier.load(folder).card
    assert card.commercial_use
    assert card.license == "Apache-2.0"
    assert card.corpora == ("emodb",)
    assert all(CORPORA[name].commercial_use for name in card.corpora)
    assert card.model_id in (folder / "README.md").read_text()
    assert (folder / "model.onnx").stat().st_size <= 2_000_000


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_segments_result_of_the_shipped_model_does_not_depend_on_its_batch(batch_size: int) -> None:
    classifier, given = Classifier.load(SHIPPED), segments(70)
    alone = np.concatenate([classifier.probabilities([segment]) for segment in given])
    np.testing.assert_allclose(classifier.probabilities(given, batch_size=batch_size), alone, atol=1e-5)
    assert np.ptp(alone, axis=0).max() > 0.1
