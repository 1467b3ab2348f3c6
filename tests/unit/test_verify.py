"""verify: each way to break the contract fails the check that it belongs to and says what to do; never a trace."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_models import SPEC, WAVEFORM_CARD, WEIGHTS, network, waveform_network, write_model

from ser_model.__main__ import SHIPPED_MODEL, main
from ser_model.classifier import Classifier
from ser_model.onnx_file import OnnxFile
from ser_model.verify import Check, verify


def by_name(folder: Path) -> dict[str, Check]:
    return {check.name: check for check in verify(folder)}


def failed(folder: Path) -> dict[str, str]:
    return {check.name: check.found for check in verify(folder) if check.status == "failed"}


@pytest.mark.parametrize(
    ("model", "change"),
    [(network(), {}), (waveform_network(), WAVEFORM_CARD)],
    ids=["log-mel", "waveform"],
)
def test_a_model_that_keeps_the_contract(
    tmp_path: Path, model: onnx.ModelProto, change: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_model(tmp_path, model, change)
    assert {check.status for check in verify(folder)} == {"ok"}
    assert main(["verify", str(folder)]) == 0
    assert f"{folder} keeps the contract" in capsys.readouterr().out


@pytest.mark.parametrize("folder", sorted(SHIPPED_MODEL.parent.iterdir()), ids=lambda folder: folder.name)
def test_a_shipped_model_keeps_the_contract(folder: Path) -> None:
    checks = by_name(folder)
    assert not [check for check in checks.values() if check.status in ("failed", "not tried")]
    assert checks["parameters"].status == checks["model.onnx"].status == "ok"
    assert checks["operators"].found == "opset 18 of ai.onnx"


def test_the_shipped_model_in_integers_says_what_it_says_in_float32() -> None:
    rng = np.random.default_rng(0)
    in_float = Classifier.load(SHIPPED_MODEL.parent / "research-float32")
    in_integers = Classifier.load(SHIPPED_MODEL)
    contours = [np.abs(np.cumsum(rng.normal(0, 12, (length, 8)), axis=0)) % 120 for length in (60, 110, 187) * 20]
    segments = [
        (60 + np.repeat(contour, 8, axis=1) + rng.integers(0, 9, (len(contour), 64))).astype(np.uint8)
        for contour in contours
    ]
    expected, found = in_float.probabilities(segments), in_integers.probabilities(segments)
    assert len(set(expected.argmax(axis=1))) > 2, "segments that are all called the same prove nothing"
    assert np.abs(found - expected).mean() < 0.02
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.9


def nodes(*changed: onnx.NodeProto, domains: dict[str, int] | None = None) -> onnx.ModelProto:
    """The small network with other nodes: they lead from log_mel to logits, with weights [64, 3] at hand."""
    model = network()
    del model.graph.node[:]
    model.graph.node.extend(changed)
    for domain, version in (domains or {}).items():
        model.opset_import.append(helper.make_opsetid(domain, version))
    return model


MEAN = helper.make_node("ReduceMean", ["log_mel"], ["mean"], axes=[1], keepdims=0)
PRODUCT = helper.make_node("MatMul", ["mean", "weights"], ["product"])
# The batch's mean is taken off: a segment's result depends on its neighbours.
OF_THE_BATCH = nodes(
    MEAN,
    helper.make_node("ReduceMean", ["mean"], ["of batch"], axes=[0], keepdims=1),
    helper.make_node("Sub", ["mean", "of batch"], ["relative"]),
    helper.make_node("MatMul", ["relative", "weights"], ["logits"]),
)
# The square root of a negative number, but for silence: not finite where it is loud.
NOT_FINITE = nodes(
    MEAN,
    PRODUCT,
    helper.make_node("Neg", ["mean"], ["level"]),
    helper.make_node("Constant", [], ["fifty"], value=numpy_helper.from_array(np.float32(50))),
    helper.make_node("Sub", ["level", "fifty"], ["above"]),
    helper.make_node("Sqrt", ["above"], ["root"]),
    helper.make_node("MatMul", ["root", "weights"], ["logits"]),
)
FUSED = nodes(
    MEAN,
    helper.make_node("FusedMatMul", ["mean", "weights"], ["logits"], domain="com.microsoft"),
    domains={"com.microsoft": 1},
)


def old_opset() -> onnx.ModelProto:
    model = network()
    model.opset_import[0].version = 9
    return model


def outside() -> onnx.ModelProto:
    model = network()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return model


# What is broken, the one check that fails for it, and what it says.
BROKEN = [
    ("no yaml", lambda p: (write_model(p) / "model.yaml").unlink(), "model.yaml", "no model.yaml in"),
    ("no onnx", lambda p: (write_model(p) / "model.onnx").unlink(), "model.onnx", "no model.onnx in"),
    ("a list", lambda p: (write_model(p) / "model.yaml").write_text("- a"), "model.yaml", "holds list; expected keys"),
    ("tabs", lambda p: (write_model(p) / "model.yaml").write_text("a:\n\t- b"), "model.yaml", "is not YAML"),
    ("latin-1", lambda p: (write_model(p) / "model.yaml").write_bytes(b"name: \xe9"), "model.yaml", "is not YAML"),
    ("no keys", lambda p: write_model(p, change={"labels": None, "license": None}), "keys", "no labels.*no license"),
    (
        "wrong types",
        lambda p: write_model(p, change={"version": 1.0, "corpora": "a"}),
        "keys",
        "put it in quotes.*corpora",
    ),
    ("name", lambda p: write_model(p, change={"name": "my model"}), "names", "expected letters"),
    ("language", lambda p: write_model(p, change={"evaluated_languages": [7]}), "names", "subtags of BCP 47"),
    (
        "label",
        lambda p: write_model(p, change={"labels": ["neutral", "joy", "sad"]}),
        "labels",
        r"unknown of them \['joy'\]",
    ),
    (
        "labels twice",
        lambda p: write_model(p, change={"labels": ["sad"] * 3}),
        "labels",
        "expected at least two different",
    ),
    ("input", lambda p: write_model(p, change={"input": "mfcc"}), "features", "expected log_mel or waveform"),
    (
        "bands",
        lambda p: write_model(p, change={"features": {**SPEC.to_dict(), "n_mels": 0}}),
        "features",
        "n_mels is 0",
    ),
    ("hash", lambda p: write_model(p, change={"feature_hash": "0" * 16}), "features", "changed by hand"),
    ("temperature", lambda p: write_model(p, change={"temperature": 0}), "calibration", "expected a positive number"),
    ("sha256", lambda p: write_model(p, change={"sha256": "0" * 64}), "sha256", "write the former into model.yaml"),
    ("text", lambda p: write_model(p, b"not ONNX"), "network", "not a network that ONNX Runtime can load"),
    (
        "pickle",
        lambda p: write_model(p, b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94."),
        "network",
        "not a network",
    ),
    ("empty", lambda p: write_model(p, b""), "network", "not a network"),
    ("external data", lambda p: write_model(p, outside()), "network", "save it again with all tensors inside"),
    ("old opset", lambda p: write_model(p, old_opset()), "operators", "opset 9; expected at least 13"),
    ("foreign operators", lambda p: write_model(p, FUSED), "operators", "operators of com.microsoft"),
    ("input name", lambda p: write_model(p, network(input_name="spectrogram")), "input", "expected one input, log_mel"),
    ("input width", lambda p: write_model(p, network(input_shape=("b", "f", 40))), "input", r"\[any, any, 64\]"),
    ("output width", lambda p: write_model(p, network(n_outputs=4)), "output", r"expected one output, logits: .*3\]"),
    ("fixed batch", lambda p: write_model(p, network(input_shape=(1, "f", 64))), "loads", "both left dynamic"),
    ("fixed length", lambda p: write_model(p, network(input_shape=("b", 16, 64))), "loads", "both left dynamic"),
    (
        "NaN",
        lambda p: write_model(p, network(weights=np.full_like(WEIGHTS, np.nan))),
        "loads",
        "returns nan for silence",
    ),
    ("loud NaN", lambda p: write_model(p, NOT_FINITE), "finite", "not finite"),
    ("batch", lambda p: write_model(p, OF_THE_BATCH), "batches", "use no statistics of the batch"),
]


@pytest.mark.parametrize(("make", "check", "found"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_what_is_broken_fails_one_check_that_says_what_to_do(
    tmp_path: Path, make: Callable[[Path], Any], check: str, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    make(folder)
    assert list(failed(folder)) == [check]
    (message,) = failed(folder).values()
    assert len(message) > 30
    assert re.search(found, message), message
    assert main(["verify", str(folder)]) == 1
    assert "fails 1 of" in capsys.readouterr().out


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    change = {"name": "a b", "labels": ["joy"], "temperature": -1, "sha256": "0" * 64, "feature_hash": "1"}
    assert list(failed(write_model(tmp_path, change=change))) == [
        "names",
        "labels",
        "features",
        "calibration",
        "sha256",
    ]


@pytest.mark.parametrize("place", ["nowhere", "a file", "folders"])
def test_what_is_no_model_folder(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "model"
    if place == "a file":
        folder.write_text("model")
    elif place == "folders":
        (folder / "model.onnx").mkdir(parents=True)
        (folder / "model.yaml").mkdir()
    assert list(failed(folder)) == ["model.yaml", "model.onnx"]


def test_a_network_that_no_memory_holds(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    with (folder / "model.onnx").open("r+b") as file:
        file.truncate(2**31)  # takes no room on the disk
    assert "which ends at 2 GB" in failed(folder)["model.onnx"]


def test_a_card_that_grows_when_it_is_printed(tmp_path: Path) -> None:
    """Aliases of aliases: ten to the ninth entries, were they written out."""
    folder = write_model(tmp_path)
    lines = ["a0: &a0 [neutral]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    text = (folder / "model.yaml").read_text().replace("labels:", "was:")
    (folder / "model.yaml").write_text("\n".join([*lines, text, "labels: *a9", "license: *a9"]))
    assert list(failed(folder)) == ["keys"]


def test_a_damaged_network_ends_in_checks(tmp_path: Path) -> None:
    content = (SHIPPED_MODEL / "model.onnx").read_bytes()
    generator = random.Random(0)
    for _ in range(12):
        damaged = bytearray(content)
        for _ in range(4):
            damaged[generator.randrange(30_000)] = generator.randrange(256)
        assert verify(write_model(tmp_path, bytes(damaged[: generator.randrange(len(damaged))])))


def test_a_model_beyond_the_design_is_warned_of(tmp_path: Path) -> None:
    model = network()
    idle = np.zeros((600, 1000), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(idle, "idle"))
    model.graph.node.append(helper.make_node("Identity", ["idle"], ["unused"]))
    checks = by_name(write_model(tmp_path, model))
    assert (checks["parameters"].status, checks["model.onnx"].status) == ("warning", "warning")
    assert checks["parameters"].found.startswith("600,192;")
    assert main(["verify", str(tmp_path)]) == 0, "a warning is no failure"


def test_parameters_are_the_numbers_in_constant_tensors() -> None:
    """Initialisers and constants, also of subgraphs; 64-bit integers are shapes."""
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones((2, 5), np.float32)))],
        "inner",
        [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, (2, 5))],
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["which"], ["out"], then_branch=inner, else_branch=inner)],
        "outer",
        [helper.make_tensor_value_info("which", TensorProto.BOOL, ())],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, (2, 5))],
        [numpy_helper.from_array(np.ones(7, np.int8), "w"), numpy_helper.from_array(np.ones(9, np.int64), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my.own", 3)])
    told = OnnxFile.read(model.SerializeToString())
    assert told.parameters == 2 * 10 + 7
    assert told.opsets == {"ai.onnx": 17, "my.own": 3}
