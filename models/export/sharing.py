"""Graphs of one network for several devices, whose weights lie in one file beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

# What is smaller stays in its graph.
SMALLEST_BYTES = 1024
# Where a tensor may begin: as wide registers want it.
ALIGNMENT = 64


def share_weights(graphs: Sequence[Path], name: str) -> None:
    """Moves the weights of graphs that lie in one folder into a file `name` there, which may be the one that has them. What is the same in several of them is in it once."""
    folder = graphs[0].parent
    written = folder / f"{name}.partial"
    models = [ir.load(path) for path in graphs]
    places: dict[bytes, int] = {}
    with written.open("wb") as file:
        for value in (value for model in models for value in model.graph.initializers.values()):
            tensor = value.const_value
            if tensor.nbytes < SMALLEST_BYTES:
                continue
            content = tensor.tobytes()
            digest = hashlib.sha256(content).digest()
            if digest not in places:
                file.write(bytes(-file.tell() % ALIGNMENT))
                places[digest] = file.tell()
                file.write(content)
            value.const_value = ir.ExternalTensor(name, places[digest], len(content), tensor.dtype, shape=tensor.shape, name=value.name, base_dir=folder)
    written.replace(folder / name)
    for model, path in zip(models, graphs, strict=True):
        ir.save(model, path)
