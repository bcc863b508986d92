"""Tiny ONNX networks with the inputs and outputs of the real ones."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALL = 4  # the picture is pooled to so many cells a side before a random layer reads it


def random_network(path: Path, given: tuple[str, tuple[int, int]], wanted: dict[str, tuple[int, ...]]) -> Path:
    """Write a network of random weights: its input's name and (height, width), its outputs' names and shapes."""
    name, (height, width) = given
    rng = np.random.default_rng(7)
    nodes = [
        helper.make_node(
            "AveragePool",
            [name],
            ["pooled"],
            kernel_shape=[height // SMALL, width // SMALL],
            strides=[height // SMALL, width // SMALL],
        ),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
    ]
    weights = []
    for output, shape in wanted.items():
        matrix = rng.normal(0, 0.3, (3 * SMALL * SMALL, int(np.prod(shape)))).astype(np.float32)
        weights.append(numpy_helper.from_array(matrix, f"{output}_weight"))
        weights.append(numpy_helper.from_array(np.array([-1, *shape], np.int64), f"{output}_shape"))
        nodes.append(helper.make_node("MatMul", ["flat", f"{output}_weight"], [f"{output}_flat"]))
        nodes.append(helper.make_node("Reshape", [f"{output}_flat", f"{output}_shape"], [output]))
    return saved(path, nodes, (name, (height, width)), wanted, weights)


def known_network(path: Path, given: tuple[str, tuple[int, int]], answers: dict[str, np.ndarray]) -> Path:
    """Write a network that answers the same to every picture."""
    name = given[0]
    weights = [
        numpy_helper.from_array(answer[None].astype(np.float32), f"{out}_known") for out, answer in answers.items()
    ]
    weights.append(numpy_helper.from_array(np.zeros(1, np.float32), "zero"))
    nodes = [
        helper.make_node("ReduceMean", [name], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        *(helper.make_node("Add", [f"{out}_known", "nothing"], [out]) for out in answers),
    ]
    return saved(path, nodes, given, {out: answer.shape for out, answer in answers.items()}, weights)


def saved(path, nodes, given, wanted, weights) -> Path:
    name, (height, width) = given
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, height, width])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["N", *shape]) for out, shape in wanted.items()],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
