"""Writes a PyTorch module as an ONNX graph with float16 storage."""

from __future__ import annotations

from pathlib import Path

import torch
from export.graph import Graph, write_graph
from torch import nn


def write_half_graph(graph: Graph, path: Path, tells_sizes: bool = True) -> None:
    """Writes `path`. Matrices are stored as float16 and cast on loading."""
    write_graph(graph, path, "fp16", tells_sizes=tells_sizes)


def round_to_half(module: nn.Module) -> nn.Module:
    """The module with its matrices rounded in place as the graph stores them, to compare like with like."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(parameter.half().float())
    return module


def hold(path: Path, difference: float, largest: float) -> None:
    """Tells how far onnxruntime is from PyTorch, as a share of its largest value; throws where that is more than `largest`."""
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, within {difference:.1e} of PyTorch's largest value", flush=True)
    if difference > largest:
        raise RuntimeError(f"Expected {path} to be within {largest} of PyTorch, got {difference:.1e}.")
