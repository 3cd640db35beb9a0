"""Writes a PyTorch module as an ONNX graph whose initialisers keep the parameters' names, and holds it against the module."""

from __future__ import annotations

import contextlib
import inspect
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import onnx_ir.passes.common as passes
import onnxruntime
import torch
from onnxscript import optimizer
from torch import Tensor, nn

from .attention import adapt_attention
from .layout import flatten_kernels, transpose_matrices
from .precision import store_weights

# Runs on every execution provider.
OPSET = 20
# Has attention and normalisation as one operator each, which the CPU is faster at; WebGPU's provider of onnxruntime 1.30 leaves
# such attention to the CPU.
CPU_OPSET = 23

# What is larger keeps its weights in a file beside it: onnxruntime maps that, where it copies those inside a graph.
LARGEST_FILE_BYTES = 100_000_000

# What is as large as values say, or as strides and padding do: onnxruntime doesn't work that out where axes are free.
SIZED_OPS = ("Concat", "ConstantOfShape", "Conv", "Expand", "Pad", "Range", "Reshape", "Resize", "Slice")

# Folding one of these over a parameter would leave a weight that has lost its name.
LAYOUT_OPS = ("Transpose", "Cast", "CastLike", "Reshape", "Unsqueeze", "Identity", "Gather")

AXES = {
    1: ("batch",),
    2: ("batch", "tokens"),
    3: ("batch", "tokens", "width"),
    4: ("batch", "channels", "height", "width"),
    5: ("batch", "channels", "time", "height", "width"),
}


@dataclass(frozen=True)
class Graph:
    """A module with what its graph takes and gives."""

    module: nn.Module
    # Name of each input and the axes of it that are free, with what they are in terms of others where tracing has to know;
    # the batch, axis 0, always is free.
    inputs: dict[str, tuple[int, ...] | dict[int, Any]]
    outputs: tuple[str, ...]
    # Inputs to compare with PyTorch; the graph is traced with the first ones.
    examples: tuple[tuple[Tensor, ...], ...]
    # Parameters that the module has and this graph has no use for.
    unused: frozenset[str] = field(default_factory=frozenset)


def write_graph(graph: Graph, path: Path, dtype: str = "fp32", opset: int = OPSET, tells_sizes: bool = True) -> None:
    """Writes `path`, with weights of a type among precision.DTYPES, and a file of weights beside it when they are too large for one.

    `tells_sizes`: whether the graph says what onnxruntime doesn't work out, which of its values are of one size. It opens sooner for that, but the memory
    that one value leaves is kept for another of its size: 4 to 12 % more for a VAE, whose values are large, nothing for a transformer.
    """
    model = trace(graph, opset)
    tidy(model, SIZED_OPS if tells_sizes else ())
    label_axes(model)
    missing = nameless_parameters(graph.module, set(model.graph.initializers)) - graph.unused
    if missing:
        raise RuntimeError(f"Expected every parameter to keep its name in {path}, got none for {sorted(missing)}.")
    transpose_matrices(model, parameter_names(graph.module))
    flatten_kernels(model, parameter_names(graph.module))
    store_weights(model, parameter_names(graph.module), dtype)
    forget_types(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    onnx_ir.save(model, path, external_data=f"{path.name}.data" if size > LARGEST_FILE_BYTES else None)


def parameter_names(module: nn.Module) -> set[str]:
    """Every name of every parameter; one that is used in two places has two."""
    return {name for name, _ in module.named_parameters(remove_duplicate=False)}


def nameless_parameters(module: nn.Module, kept: set[str]) -> set[str]:
    """The parameters none of whose names is among those that were kept."""
    found = {id(parameter) for name, parameter in module.named_parameters(remove_duplicate=False) if name in kept}
    return {name for name, parameter in module.named_parameters() if id(parameter) not in found}


def trace(graph: Graph, opset: int) -> onnx_ir.Model:
    free = torch.export.Dim.DYNAMIC
    shapes = tuple({0: free, **(axes if isinstance(axes, dict) else dict.fromkeys(axes, free))} for axes in graph.inputs.values())
    kinds = [parameter.kind for parameter in inspect.signature(graph.module.forward).parameters.values()]
    named_count = kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if named_count < len(shapes):
        # What a forward takes as *arguments counts as one.
        shapes = (*shapes[:named_count], shapes[named_count:])
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            graph.module, graph.examples[0], input_names=list(graph.inputs), output_names=list(graph.outputs),
            dynamic_shapes=shapes, dynamo=True, opset_version=opset, optimize=False, verbose=False,
        )  # fmt: skip
    model = program.model
    named = parameter_names(graph.module)

    def should_fold(node: onnx_ir.Node) -> bool | None:
        if node.op_type in LAYOUT_OPS and any(value is not None and value.name in named for value in node.inputs):
            return False
        return None

    passes.InlinePass()(model)
    # Each turn folds what the one before made constant; after three nothing changes in any of the families.
    for _ in range(3):
        optimizer.fold_constants(
            model, onnx_shape_inference=True, input_size_limit=8192, output_size_limit=262144, should_fold=should_fold
        )
        passes.RemoveUnusedNodesPass()(model)
    adapt_attention(model)
    for clean in (
        passes.IdentityEliminationPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.RemoveUnusedFunctionsPass(),
        passes.RemoveUnusedOpsetsPass(),
    ):
        clean(model)
    return model


def tidy(model: onnx_ir.Model, sized: tuple[str, ...]) -> None:
    """Drops the stack traces and file paths that the exporter writes beside nodes and values, and the shapes but for those of `sized` operators."""
    graph = model.graph
    outputs = set(graph.outputs)
    for item in (model, graph, *graph.all_nodes(), *graph.inputs, *graph.initializers.values()):
        item.metadata_props.clear()
        item.doc_string = None
    for node in graph.all_nodes():
        for value in node.outputs:
            value.metadata_props.clear()
            if value not in outputs and node.op_type not in sized:
                value.shape = value.type = None
    model.producer_name, model.producer_version = "reelspace", None


def forget_types(model: onnx_ir.Model) -> None:
    """Drops what would be written of weights beside them: their shapes and types, which they have themselves."""
    for value in model.graph.initializers.values():
        value.shape = value.type = None


def label_axes(model: onnx_ir.Model) -> None:
    """Names the free axes of inputs and outputs by what they are."""
    for value in (*model.graph.inputs, *model.graph.outputs):
        labels = AXES[len(value.shape)]
        value.shape = onnx_ir.Shape(
            [axis if isinstance(axis, int) else f"{value.name}_{label}" for axis, label in zip(value.shape, labels, strict=True)]
        )


@dataclass(frozen=True)
class Difference:
    """The largest difference of a graph from its module, and the largest value of what the module gave there."""

    absolute: float
    largest_value: float

    @staticmethod
    def of(ours: np.ndarray, theirs: Tensor) -> Difference:
        if ours.shape != tuple(theirs.shape):
            raise RuntimeError(f"Expected the graph to give shape {tuple(theirs.shape)}, got {ours.shape}.")
        # What is not finite on either side compares as infinitely far away.
        absolute = float(np.nan_to_num(np.abs(ours - theirs.numpy()), nan=np.inf).max())
        return Difference(absolute, float(theirs.abs().max()))

    @property
    def relative(self) -> float:
        """As a share of the largest value, or of 1 where all values are smaller."""
        return self.absolute / max(1.0, self.largest_value)


def compare(graph: Graph, path: Path) -> Difference:
    """The worst of all outputs over all examples, onnxruntime's on the CPU against PyTorch's."""
    session = open_session(path)
    worst = Difference(0.0, 1.0)
    for example in graph.examples:
        with torch.no_grad():
            expected = graph.module(*example)
        actual = session.run(None, {name: x.numpy() for name, x in zip(graph.inputs, example, strict=True)})
        for ours, theirs in zip(actual, expected if isinstance(expected, tuple) else (expected,), strict=True):
            worst = max(worst, Difference.of(ours, theirs), key=lambda one: one.relative)
    return worst


def open_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
