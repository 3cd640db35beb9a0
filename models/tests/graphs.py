"""Where the weights of graphs lie, for several tests."""

from __future__ import annotations

from pathlib import Path

import onnx


def held_outside(path: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """Where the weights of a graph lie that are in another file."""
    model = onnx.load(path, load_external_data=False)
    return {one.name: tuple((entry.key, entry.value) for entry in one.external_data) for one in model.graph.initializer if one.external_data}
