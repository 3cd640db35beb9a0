"""Exports both halves of the VAE as ONNX graphs with explicit causal state; matrices are stored as float16.

    python -m reel_tiny.vae.export --checkpoint DIR/checkpoint.pt --out reel-tiny

Initialisers keep the names that parameters have in PyTorch. Each graph is checked against PyTorch in onnxruntime, at
the size it was exported with and at another.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from export.graph import Difference, Graph, open_session
from torch import Tensor

from ..export.graph import hold, round_to_half, write_half_graph
from ..integers import drop_whole_numbers
from ..weights import load_vae
from .model import LATENT_CHANNELS, SPATIAL, STATE_FRAMES, TEMPORAL, Half

# What onnxruntime's latents and pixels may differ from PyTorch's by, as a share of PyTorch's largest value: less than a hundredth of a grey level.
LARGEST = 1e-4


def example(half: Half, is_encoder: bool, frames: int, height: int, width: int, batch: int = 1) -> tuple[Tensor, ...]:
    """Random inputs of a half: the clip and its states."""
    generator = torch.Generator().manual_seed(frames * height + width)
    clip = (batch, 3, frames, height, width)
    if not is_encoder:
        clip = (batch, LATENT_CHANNELS, frames // TEMPORAL, height // SPATIAL, width // SPATIAL)
    x = torch.rand(clip, generator=generator) * 2 - 1
    states = half.empty_states(batch, height, width, x)
    return x, *(torch.randn(s.shape, generator=generator) for s in states)


def half_graph(half: Half, is_encoder: bool) -> Graph:
    """The graph of a half, compared with PyTorch at three sizes."""
    source, target = ("pixels", "latents") if is_encoder else ("latents", "pixels")
    count = len(half.state_specs)
    return Graph(
        half,
        {source: (2, 3, 4)} | {f"state_in_{i}": (3, 4) for i in range(count)},
        (target, *(f"state_out_{i}" for i in range(count))),
        # What is 1 in the first example is taken for 1 everywhere.
        (example(half, is_encoder, 8, 32, 48, 2), example(half, is_encoder, 4, 72, 40), example(half, is_encoder, 20, 64, 64)),
    )


def compare_streams(graph: Graph, path: Path) -> Difference:
    """The worst of the latents or pixels over all examples, onnxruntime's against PyTorch's, over two calls, of which the second begins at the states of the first.

    States themselves are not compared: the norm before them makes much of numbers that later frames show nothing of.
    """
    session = open_session(path)
    worst = Difference(0.0, 1.0)
    for clip, *states in graph.examples:
        known = [state.numpy() for state in states]
        for _ in range(2):
            with torch.no_grad():
                theirs, *states = graph.module(clip, *states)
            ours, *known = session.run(None, dict(zip(graph.inputs, (clip.numpy(), *known), strict=True)))
            worst = max(worst, Difference.of(ours, theirs), key=lambda one: one.relative)
    return worst


def describe_states(half: Half) -> list[dict]:
    return [{"channels": s.channels, "frames": STATE_FRAMES, "spatialDivisor": s.divisor} for s in half.state_specs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    a = parser.parse_args()
    torch.set_num_threads(1)
    vae = load_vae(a.checkpoint).requires_grad_(False)
    halves = [("encoder", vae.encoder, True), ("decoder", vae.decoder, False)]
    for name, half, is_encoder in halves:
        path = a.out / f"vae_{name}" / "model.onnx"
        drop_whole_numbers(path.parent)
        graph = half_graph(round_to_half(half), is_encoder)
        write_half_graph(graph, path, tells_sizes=False)
        hold(path, compare_streams(graph, path).relative, LARGEST)
    states = {name: describe_states(half) for name, half, _ in halves}
    (a.out / "vae_state.json").write_text(json.dumps(states, indent=2) + "\n")


if __name__ == "__main__":
    main()
