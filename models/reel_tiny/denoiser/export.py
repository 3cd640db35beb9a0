"""Exports the text encoder and the denoiser into a bundle, and holds both against PyTorch.

    python -m reel_tiny.denoiser.export --denoiser DIR/checkpoint.pt --text TEXT_CHECKPOINT --out reel-tiny
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from ..export.graph import export_graph, relative_difference, round_to_half
from ..text.encoder import WIDTH
from ..vae.export import open_session
from .network import Config, Denoiser
from .train import load_encoder

INPUTS = ("latents", "timestep", "prompt_embeds", "condition_latents", "condition_mask")
AXES = ((0, 2, 3, 4), (0,), (0, 1), (0, 2, 3, 4), (0, 2, 3, 4))
LABELS = {0: "batch", 1: "channels", 2: "time", 3: "height", 4: "width"}
LARGEST = 1e-3


def load_denoiser(checkpoint: str | Path) -> Denoiser:
    """The denoiser with the averaged weights of a training checkpoint."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    config = {name: tuple(value) if isinstance(value, list) else value for name, value in saved["config"].items()}
    model = Denoiser(Config(**config))
    model.load_state_dict(saved["ema"])
    return model.eval().requires_grad_(False)


def example(batch: int, frames: int, height: int, width: int, words: int) -> tuple[Tensor, ...]:
    """Random inputs; the last word of the first prompt is masked, and some of the picture kept, some followed."""
    g = torch.Generator().manual_seed(batch + frames * height + width)
    shape = (batch, 16, frames, height, width)
    text = torch.randn(batch, words, WIDTH, generator=g)
    text[0, -1] = 0
    mask = (torch.rand(batch, 2, *shape[2:], generator=g) > 0.5).float()
    return torch.randn(shape, generator=g), torch.linspace(900, 100, batch), text, torch.randn(shape, generator=g), mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--denoiser", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(options.out / "tokenizer/tokenizer.json"))
    encoder = round_to_half(load_encoder(options.text, tokenizer))
    prompts = tokenizer.encode_batch(["a chicken on a beach", "a pencil sketch of a fox spinning in the snow"])
    ids, mask = torch.tensor([p.ids for p in prompts]), torch.tensor([p.attention_mask for p in prompts])
    path = options.out / "text_encoder/model.onnx"
    export_graph(encoder, (ids, mask), ("input_ids", "attention_mask"), "prompt_embeds", ((0, 1), (0, 1)), {0: "batch", 1: "tokens", 2: "width"}, path)
    report(path, max(relative_difference(encoder, path, (ids[:n, :l], mask[:n, :l])) for n, l in ((2, 32), (1, 9), (2, 13))))

    denoiser = round_to_half(load_denoiser(options.denoiser))
    denoiser.exporting = True
    path = options.out / "transformer/model.onnx"
    export_graph(denoiser, example(2, 7, 16, 16, 9), INPUTS, "prediction", AXES, LABELS, path)
    sizes = ((2, 7, 16, 16, 9), (1, 1, 16, 16, 3), (2, 3, 12, 20, 32), (1, 12, 9, 7, 5), (1, 2, 8, 8, 2))
    denoiser.exporting = False
    report(path, max(relative_difference(denoiser, path, example(*size)) for size in sizes))
    session = open_session(path, 2)
    feed = {name: x.numpy() for name, x in zip(INPUTS, example(2, 7, 16, 16, 32), strict=True)}
    session.run(None, feed)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        session.run(None, feed)
        seconds.append(time.perf_counter() - start)
    print(f"one guided step at 25 frames of 128x128 on 2 threads: {min(seconds):.3f} s")


def report(path: Path, difference: float) -> None:
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, within {difference:.1e} of PyTorch's largest value", flush=True)
    if difference > LARGEST:
        raise RuntimeError(f"Expected {path} to be within {LARGEST} of PyTorch, got {difference:.1e}.")


if __name__ == "__main__":
    main()
