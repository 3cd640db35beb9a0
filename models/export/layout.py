"""Stores the matrices of linear layers the way they are multiplied with: [columns, rows], where PyTorch has [rows, columns].

onnxruntime then has nothing to turn round when it opens the graph, which would leave every matrix in memory twice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

# What the graph's metadata say of a weight that is stored so, under the weight's name.
TRANSPOSED = "transposed"


def transpose_matrices(model: ir.Model, named: set[str]) -> None:
    """Turns those parameters round that nothing uses but products with their transpose."""
    for value in list(model.graph.initializers.values()):
        if value.name in named and value.dtype == ir.DataType.FLOAT and is_linear(value):
            transposes = [user for user, _ in value.uses()]
            turn(value)
            for transpose in transposes:
                ir.convenience.replace_all_uses_with(transpose.outputs[0], value)
                model.graph.remove(transpose, safe=True)
            model.metadata_props[value.name] = TRANSPOSED


def is_linear(value: ir.Value) -> bool:
    if len(value.shape) != 2 or value.is_graph_output():
        return False
    transposes = [user for user, _ in value.uses()]
    if not transposes or any(node.op_type != "Transpose" for node in transposes):
        return False
    products = [use for node in transposes for use in node.outputs[0].uses()]
    return bool(products) and all(node.op_type == "MatMul" and place == 1 for node, place in products)


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """A graph's weights by name, with their axes as PyTorch has them."""
    model = onnx.load(path)
    turned = {entry.key for entry in model.metadata_props if entry.value == TRANSPOSED}
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    return {name: array.T if name in turned else array for name, array in arrays.items()}


def turn(value: ir.Value) -> None:
    before = value.const_value
    shape = ir.Shape(reversed(before.shape))
    # Made when it is written, so that no second copy of all weights is held.
    value.const_value = ir.LazyTensor(
        lambda: ir.tensor(np.ascontiguousarray(before.numpy().T), name=value.name), before.dtype, shape, name=value.name
    )
    value.shape = shape
