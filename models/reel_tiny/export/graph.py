"""Writes a PyTorch module as an ONNX graph with float16 storage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from export.graph import Graph, parameter_names, write_graph
from onnx import TensorProto, helper, numpy_helper
from torch import nn


def write_half_graph(graph: Graph, path: Path) -> None:
    """Writes `path`. Matrices are stored as float16 and cast on loading."""
    write_graph(graph, path)
    onnx.save(halve_matrices(onnx.load(path), parameter_names(graph.module)), path)


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
