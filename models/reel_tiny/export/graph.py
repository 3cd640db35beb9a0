"""Exports one PyTorch module as an ONNX graph with float16 storage, and holds it against PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from ..vae.export import label_axes, open_session, write_graph


def export_graph(
    module: nn.Module, arguments: tuple[Tensor, ...], inputs: Sequence[str], output: str, axes: Sequence[Sequence[int]], labels: dict[int, str], path: Path
) -> None:
    """Writes `path`; `axes` are the free axes of each input. Matrices are stored as float16 and cast on loading."""
    shapes = tuple({axis: torch.export.Dim.DYNAMIC for axis in one} for one in axes)
    write_graph(module, arguments, list(inputs), [output], shapes, path)
    label_axes(path, labels)
    onnx.save(halve_matrices(onnx.load(path), {name for name, _ in module.named_parameters()}), path)


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
