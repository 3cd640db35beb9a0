"""Stores a graph's weights in fewer bits. Names stay on the weights, and inputs, outputs and most of the arithmetic float32.

The VAE stays float32. fp16 and bf16 weights are cast to float32 where they are used, which runs on every device. int8 is for matrix products: weights of a
row share a scale, activations are quantised while the graph runs (DynamicQuantizeLinear and MatMulInteger of ONNX). int4 is for those
products too: 32 weights of a row share a scale (MatMulNBits of onnxruntime).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import ml_dtypes
import numpy as np
import onnx_ir as ir

from .errors import ExportError
from .layout import TRANSPOSED

HALVES = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
# What matrices and tables are stored as; vectors stay float32.
DTYPES = ("fp32", *HALVES, "int8", "int4")

# Weights of a row that share a scale in int4.
BLOCK = 32
# How onnxruntime is to multiply them: 4 means with activations in 8 bits, by block.
ACCURACY_LEVEL = 4
# What the graph's metadata say of a matrix that is packed, two weights a byte: [rows, blocks of a row, bytes of a block].
PACKED = "int4"

# Tables of tokens up to this many numbers stay float32: WebGPU looks up 16-bit rows only on devices that calculate in 16 bits.
SMALL_TABLE = 2**21

# What is no part of a numbered block: a small share of the work, and the largest of the error. Of a Wan transformer of 100 M weights
# and ten blocks, the last product alone in int8 is 1.8 % off, all products of the blocks 1.4 %, and all together 2.4 %.
NUMBERED = re.compile(r"\.\d+\.")

# By which share of the largest value, or of 1 where all are smaller, onnxruntime may differ from PyTorch in float32.
LARGEST_DIFFERENCE = {"fp32": 1e-4, "fp16": 5e-3, "bf16": 3e-2, "int8": 1e-1, "int4": 3e-1}


def store_weights(model: ir.Model, named: set[str], dtype: str) -> None:
    """Changes the parameters among a float32 graph's weights to `dtype`, one of DTYPES; other tables are no weights."""
    if dtype == "int8":
        quantise_products(model, named)
    if dtype == "int4":
        pack_products(model, named)
    if dtype != "fp32":
        # What is no matrix product stays exact enough in float16 at half the size.
        halve(model, named, HALVES.get(dtype, HALVES["fp16"]))


def matrices(model: ir.Model, named: set[str]) -> list[ir.Value]:
    """The parameters in float32 that have rows."""
    weights = model.graph.initializers.values()
    return [value for value in weights if value.name in named and value.dtype == ir.DataType.FLOAT and len(value.shape) >= 2]


def store(value: ir.Value, array: np.ndarray) -> None:
    value.const_value = ir.tensor(array, name=value.name)
    value.type = ir.TensorType(value.const_value.dtype)


def in_half(value: ir.Value, dtype: np.dtype) -> ir.LazyTensor:
    """The weight in 16 bits, made when it is written, so that no second copy of all weights is held."""
    before = value.const_value

    def rounded() -> np.ndarray:
        with np.errstate(over="ignore"):
            return before.numpy().astype(dtype)

    if not np.isfinite(rounded().astype(np.float32)).all():
        raise ExportError(f"Expected the weights to fit into {dtype}, but {value.name} has larger numbers. Export as bf16 or fp32.")
    return ir.LazyTensor(lambda: ir.tensor(rounded(), name=value.name), ir.DataType.from_numpy(dtype), before.shape, name=value.name)


def halve(model: ir.Model, named: set[str], dtype: np.dtype) -> None:
    for value in matrices(model, named):
        users = list(value.uses())
        if is_looked_up(users) and value.const_value.size <= SMALL_TABLE:
            continue
        value.const_value = in_half(value, dtype)
        value.type = ir.TensorType(value.const_value.dtype)
        cast = None
        for user, place in users:
            if is_looked_up([(user, place)]):
                # The rows that are looked up are cast, and not the whole table.
                after = to_float32(user.outputs[0])
                ir.convenience.replace_all_uses_with(user.outputs[0], after.outputs[0])
                after.replace_input_with(0, user.outputs[0])
                user.graph.insert_after(user, after)
                continue
            if cast is None:
                cast = to_float32(value)
                model.graph.insert_before(model.graph[0], cast)
            user.replace_input_with(place, cast.outputs[0])


def is_looked_up(users: list[tuple[ir.Node, int]]) -> bool:
    return any(user.op_type == "Gather" and place == 0 for user, place in users)


def to_float32(value: ir.Value) -> ir.Node:
    node = ir.node("Cast", [value], {"to": ir.DataType.FLOAT})
    node.outputs[0].name = f"{value.name}/float32"
    return node


def products_in_blocks(model: ir.Model, named: set[str]) -> Iterator[tuple[ir.Value, list[ir.Node]]]:
    """Every weight that is stored as [columns, rows] and is one of a row of blocks, with the products that it is in."""
    for value in matrices(model, named):
        products = [user for user, _ in value.uses()]
        if model.metadata_props.get(value.name) != TRANSPOSED or any(node.graph is not model.graph for node in products):
            continue
        if NUMBERED.search(value.name):
            yield value, products


def quantise_products(model: ir.Model, named: set[str]) -> None:
    activations: dict[ir.Value, tuple[ir.Value, ir.Value, ir.Value]] = {}
    for value, products in products_in_blocks(model, named):
        weight = value.const_value.numpy()
        scale = np.maximum(np.abs(weight).max(0), np.finfo(np.float32).tiny) / 127
        store(value, np.round(weight / scale).astype(np.int8))
        scales = ir.Value(name=f"{value.name}_scale", const_value=ir.tensor(scale.astype(np.float32)))
        model.graph.register_initializer(scales)
        for product in products:
            multiply_integers(product, scales, activations)


def multiply_integers(product: ir.Node, scales: ir.Value, activations: dict[ir.Value, tuple[ir.Value, ir.Value, ir.Value]]) -> None:
    """Replaces a product by the same of integers, in the nodes that onnxruntime joins into one."""
    given, weight = product.inputs
    graph = product.graph
    name = product.outputs[0].name

    def add(op_type: str, inputs: list[ir.Value], attributes: dict | None = None, outputs: int = 1) -> ir.Node:
        node = ir.node(op_type, inputs, attributes or {}, num_outputs=outputs)
        for number, output in enumerate(node.outputs):
            output.name = f"{name}/{op_type}.{number}"
        graph.insert_before(product, node)
        return node

    if given not in activations:
        activations[given] = tuple(add("DynamicQuantizeLinear", [given], outputs=3).outputs)
    quantised, scale, zero = activations[given]
    whole = add("MatMulInteger", [quantised, weight, zero]).outputs[0]
    both = add("Mul", [scale, scales]).outputs[0]
    parts = add("Cast", [whole], {"to": ir.DataType.FLOAT}).outputs[0]
    result = ir.node("Mul", [parts, both])
    ir.convenience.replace_all_uses_with(product.outputs[0], result.outputs[0])
    graph.insert_before(product, result)
    graph.remove(product, safe=True)
    result.outputs[0].name = name


def pack_products(model: ir.Model, named: set[str]) -> None:
    """Rows whose length is no multiple of a block stay as they are."""
    for value, products in products_in_blocks(model, named):
        columns, rows = value.shape
        if columns % BLOCK:
            continue
        packed, scale = pack(value.const_value.numpy().T)
        store(value, packed)
        value.shape = ir.Shape(packed.shape)
        model.metadata_props[value.name] = PACKED
        scales = ir.Value(name=f"{value.name}_scale", const_value=ir.tensor(scale))
        model.graph.register_initializer(scales)
        attributes = {"K": columns, "N": rows, "bits": 4, "block_size": BLOCK, "accuracy_level": ACCURACY_LEVEL}
        for product in products:
            node = ir.node("MatMulNBits", [product.inputs[0], value, scales], attributes, domain="com.microsoft")
            node.outputs[0].name = product.outputs[0].name
            product.graph.insert_before(product, node)
            ir.convenience.replace_all_uses_with(product.outputs[0], node.outputs[0])
            product.graph.remove(product, safe=True)
        model.graph.opset_imports["com.microsoft"] = 1


def pack(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A matrix [rows, columns] in 4 bits, from 0 to 15 with 8 for zero, and the scale of each block [rows, blocks]."""
    blocks = weight.reshape(weight.shape[0], -1, BLOCK)
    # What is farthest from zero becomes 0, which is 8 steps away from it where 15 is 7.
    farthest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1, keepdims=True), -1)
    scale = np.where(farthest == 0, 1, farthest / -8).astype(np.float32)
    steps = np.clip(np.round(blocks / scale) + 8, 0, 15).astype(np.uint8)
    return steps[..., 0::2] | steps[..., 1::2] << 4, scale[..., 0]
