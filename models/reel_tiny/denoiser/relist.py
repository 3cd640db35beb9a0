"""Gives the denoiser's graphs of a bundle another list of things; all else in them stays as it is, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from export.sharing import share_weights
from onnx import numpy_helper

from ..integers import WEIGHTS, WHOLE_NUMBERS
from .planner import Planner


def relist(folder: Path, planner: Planner) -> None:
    """Writes the planner's list and pictures into the graphs in `folder`, and their shared weights anew."""
    graphs = [path for path in (folder / "model.onnx", folder / WHOLE_NUMBERS) if path.exists()]
    arrays = {
        "planner.thing.weight": planner.thing.weight.detach().numpy().astype(np.float16),
        "planner.thing.bias": planner.thing.bias.detach().numpy(),
        "planner.pictures": planner.pictures.numpy(),
    }
    for path in graphs:
        model = onnx.load(path)
        for initializer in model.graph.initializer:
            if initializer.name in arrays:
                initializer.CopyFrom(numpy_helper.from_array(arrays[initializer.name], initializer.name))
        onnx.save(model, path)
    share_weights(graphs, WEIGHTS)
