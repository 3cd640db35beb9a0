"""Stores weights the way they are used, so that onnxruntime has nothing to change when it opens the graph, which would leave them in memory
twice: the matrices of linear layers as [columns, rows], where PyTorch has [rows, columns], and kernels over time flat where they are used so.
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


def flatten_kernels(model: ir.Model, named: set[str]) -> None:
    """Gives kernels over time [O, C, t, h, w] the shape that all of their uses want; their numbers stay in order."""
    for value in list(model.graph.initializers.values()):
        reshapes = [user for user, _ in value.uses()]
        if value.name not in named or len(value.shape) != 5 or any(node.op_type != "Reshape" for node in reshapes):
            continue
        wanted = [ir.convenience.get_const_tensor(node.inputs[1]) for node in reshapes]
        shapes = {None if shape is None else tuple(shape.numpy().tolist()) for shape in wanted}
        if len(shapes) != 1 or None in shapes:
            continue
        array = value.const_value.numpy().reshape(*shapes)
        value.const_value = ir.tensor(array, name=value.name)
        value.shape = ir.Shape(array.shape)
        for reshape in reshapes:
            ir.convenience.replace_all_uses_with(reshape.outputs[0], value)
            model.graph.remove(reshape, safe=True)


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
