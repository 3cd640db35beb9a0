"""Exports one PyTorch module as an ONNX graph whose initialisers keep the module's parameter names."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir.passes.common as passes
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import optimizer
from torch import Tensor, nn

from ..vae.export import LAYOUT_OPS, OPSET, clear_traces, open_session


def export_graph(
    module: nn.Module, arguments: tuple[Tensor, ...], inputs: Sequence[str], output: str, axes: Sequence[Sequence[int]], path: Path
) -> None:
    """Writes `path`; `axes` are the free axes of each input. Matrices are stored as float16 and cast on loading."""
    free = torch.export.Dim.DYNAMIC
    shapes = tuple({axis: free for axis in one} for one in axes)
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            module, arguments, input_names=list(inputs), output_names=[output], dynamic_shapes=shapes,
            dynamo=True, opset_version=OPSET, optimize=False, verbose=False,
        )  # fmt: skip
    model = program.model
    named = {name for name, _ in module.named_parameters()}

    def should_fold(node) -> bool | None:  # noqa: ANN001
        """Folding a layout change of a parameter would lose the parameter's name."""
        if node.op_type in LAYOUT_OPS and any(v is not None and v.name in named for v in node.inputs):
            return False
        return None

    passes.InlinePass()(model)
    for _ in range(3):
        optimizer.fold_constants(model, onnx_shape_inference=True, input_size_limit=8192, output_size_limit=262144, should_fold=should_fold)
        passes.RemoveUnusedNodesPass()(model)
    for tidy in (
        passes.IdentityEliminationPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.RemoveUnusedFunctionsPass(),
        passes.RemoveUnusedOpsetsPass(),
    ):
        tidy(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    program.save(str(path), external_data=False)
    clear_traces(path)
    graph = onnx.load(path)
    missing = named - {i.name for i in graph.graph.initializer}
    if missing:
        raise RuntimeError(f"Expected every parameter to keep its name, got none for {sorted(missing)}.")
    onnx.save(halve_matrices(graph, named), path)


def halve_matrices(model: onnx.ModelProto, named: set[str]) -> onnx.ModelProto:
    """Stores the named matrices as float16, each behind a Cast back that onnxruntime folds when it loads the graph."""
    casts, renamed = [], {}
    for initializer in model.graph.initializer:
        if initializer.name not in named or initializer.data_type != TensorProto.FLOAT or len(initializer.dims) < 2:
            continue
        whole = numpy_helper.to_array(initializer)
        wide = f"{initializer.name}.float32"
        renamed[initializer.name] = wide
        initializer.CopyFrom(numpy_helper.from_array(whole.astype(np.float16), initializer.name))
        casts.append(helper.make_node("Cast", [initializer.name], [wide], name=f"{initializer.name}.cast", to=TensorProto.FLOAT))
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    # What shape inference noted of the parameters is of their old type.
    kept = [value for value in model.graph.value_info if value.name not in named]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    return model


def round_to_half(module: nn.Module) -> nn.Module:
    """The module with its matrices rounded in place as the graph stores them, to compare like with like."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(parameter.half().float())
    return module


def relative_difference(module: nn.Module, path: Path, arguments: tuple[Tensor, ...]) -> float:
    """The largest difference between onnxruntime and PyTorch, as a share of PyTorch's largest value."""
    session = open_session(path, 1)
    feed = {i.name: x.numpy() for i, x in zip(session.get_inputs(), arguments, strict=True)}
    with torch.no_grad():
        expected = module(*arguments).numpy()
    actual = session.run(None, feed)[0]
    return float(np.abs(actual - expected).max() / np.abs(expected).max())
