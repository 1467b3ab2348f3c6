"""A network in 8-bit integers, which processors with dot products of them (VNNI) compute in half the time.

Static: the scale of each layer's output is fixed once, by what the network computes for the segments given. Weights
have 7 bits, a scale a channel, so that processors without such dot products, where sums of two products must fit into
16 bits, give the same results. Needs onnx; knows nothing of corpora or training.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

_QUANTIZED: Final = ("Conv", "Add", "Relu")


def to_int8(network: bytes, inputs: Iterable[npt.NDArray[np.float32]]) -> bytes:
    """Return a network whose convolutions and residual sums compute in 8-bit integers.

    What has one channel on either side stays float32, as does all that is no convolution: the network's input,
    attention and output. An average that only a convolution hears becomes part of it.

    Parameters
    ----------
    network
        An ONNX file with one input.
    inputs
        What it is to hear, a batch each; of speakers that it may know.

    Returns
    -------
    An ONNX file with the same input and output.
    """
    model = onnx.load_model_from_string(network)
    _pool_in_convolutions(model.graph)
    (heard,) = (entry.name for entry in model.graph.input)
    batches = ({heard: batch} for batch in inputs)
    with tempfile.TemporaryDirectory() as folder:
        prepared, path = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(model, prepared, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            _Batches(batches),
            nodes_to_quantize=list(_to_quantize(model.graph)),
            op_types_to_quantize=list(_QUANTIZED),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
        quantized = onnx.load(path)
    for node in quantized.graph.node:
        node.doc_string = ""
    onnx.checker.check_model(quantized)
    content: bytes = quantized.SerializeToString()
    return content


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, batches: Iterator[Mapping[str, npt.NDArray[np.float32]]]) -> None:
        self._batches = batches

    def get_next(self) -> Mapping[str, npt.NDArray[np.float32]] | None:
        return next(self._batches, None)


def _pool_in_convolutions(graph: onnx.GraphProto) -> None:
    """Let a 1 x 1 convolution of averages compute the averages: ONNX Runtime's of integers take longer than it does."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for pool in [node for node in graph.node if node.op_type == "AveragePool"]:
        hearers = [node for node in graph.node if pool.output[0] in node.input]
        pooled = {attribute.name: helper.get_attribute_value(attribute) for attribute in pool.attribute}
        kernel = list(pooled["kernel_shape"])
        if len(hearers) != 1 or hearers[0].op_type != "Conv" or pooled["strides"] != kernel or any(pooled["pads"]):
            continue
        (convolution,) = hearers
        weight = numpy_helper.to_array(weights[convolution.input[1]])
        if weight.shape[2:] != (1,) * len(kernel):
            continue
        spread = np.broadcast_to(weight / np.float32(np.prod(kernel)), (*weight.shape[:2], *kernel))
        graph.initializer.remove(weights[convolution.input[1]])
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(spread), convolution.input[1]))
        kept = [each for each in convolution.attribute if each.name not in ("kernel_shape", "strides")]
        del convolution.attribute[:]
        convolution.attribute.extend(
            [*kept, helper.make_attribute("kernel_shape", kernel), helper.make_attribute("strides", kernel)]
        )
        convolution.input[0] = pool.input[0]
        graph.node.remove(pool)
    del graph.value_info[:]  # has the shapes of before


def _to_quantize(graph: onnx.GraphProto) -> Iterator[str]:
    """Name the convolutions, the sums of what convolutions gave, and what cuts either off at zero."""
    weights = {tensor.name: tensor.dims for tensor in graph.initializer}
    made_by: dict[str, onnx.NodeProto] = {output: node for node in graph.node for output in node.output}
    chosen: set[str] = set()
    for node in graph.node:
        before = [made_by.get(name) for name in node.input]
        if node.op_type == "Conv":
            wanted = min(weights[node.input[1]][:2]) > 1
        elif node.op_type == "Add":
            wanted = all(each is not None and each.op_type in ("Conv", "Relu") for each in before)
        else:
            wanted = node.op_type == "Relu" and before[0] is not None and before[0].name in chosen
        if wanted:
            chosen.add(node.name)
            yield node.name
