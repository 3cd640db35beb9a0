"""Exports a denoiser, a text encoder or both into a bundle, and holds them against PyTorch.

    python -m reel_tiny.denoiser.export [--denoiser DIR/checkpoint.pt] [--text TEXT_CHECKPOINT] --out reel-tiny

Of several denoisers the mean is taken, as in `vae/freeze.py`, of which each may have its share: --denoiser A B --shares 0.65 0.35. So it is of several
text encoders (--text A B --text-shares 0.75 0.25), all with the first one's tokenizer or the beginning of it.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import torch
from export.graph import Graph, compare, open_session
from tokenizers import Tokenizer
from torch import Tensor

from ..export.graph import hold, round_to_half, write_half_graph
from ..integers import drop_whole_numbers
from ..text.encoder import WIDTH, TextEncoder
from ..text.train import start_from
from ..text.widen import learnt
from ..weights import load_denoiser, mean_of
from .network import Denoiser
from .planner import PICTURE, Planner
from .relist import relist

INPUTS = {"latents": (2, 3, 4), "timestep": (), "prompt_embeds": (1,), "condition_latents": (2, 3, 4), "condition_mask": (2, 3, 4), "reference": ()}
SIZES = ((2, 7, 16, 16, 9), (1, 1, 16, 16, 3), (2, 3, 12, 20, 32), (1, 12, 9, 7, 5), (1, 2, 8, 8, 2))
LARGEST = 1e-3


def example(batch: int, frames: int, height: int, width: int, words: int) -> tuple[Tensor, ...]:
    """Random inputs; the last word of the first prompt is masked, and some of the picture kept, some followed."""
    g = torch.Generator().manual_seed(batch + frames * height + width)
    shape = (batch, 16, frames, height, width)
    text = torch.randn(batch, words, WIDTH, generator=g)
    text[0, -1] = 0
    mask = (torch.rand(batch, 2, *shape[2:], generator=g) > 0.5).float()
    return torch.randn(shape, generator=g), torch.linspace(900, 100, batch), text, torch.randn(shape, generator=g), mask


def examples(model: Denoiser) -> tuple[tuple[Tensor, ...], ...]:
    """Inputs of every size; the last of each batch is given a picture, stands still and is nearly clean, so that it settles (see settle.py).

    Where drafts are followed there is one more, for which one is (see follow.py).
    """
    g = torch.Generator().manual_seed(0)

    def whole(size: tuple[int, ...]) -> tuple[Tensor, ...]:
        latents, timestep, *others = example(*size)
        latents[-1], timestep[-1] = latents[-1, :, :1], 100
        reference = torch.zeros(len(latents), 4, PICTURE, PICTURE)
        reference[-1] = torch.rand(reference.shape[1:], generator=g)
        return latents, timestep, *others, reference

    found = tuple(whole(size) for size in SIZES)
    if model.follow is None:
        return found
    latents, _, text, condition, mask, reference = whole((1, 3, 12, 10, 4))
    asked, weight = 1 - model.follow.hides(text[:, 0]), model.follow.hides.weight
    text[:, 0] += asked * weight / weight.square().sum()
    return *found, (latents, torch.tensor([900.0]), text, condition, torch.zeros_like(mask), reference + 0.5)


def add_denoiser(model: Denoiser, path: Path) -> Graph:
    """Writes the graph, and returns it for comparison."""
    graph = Graph(model, INPUTS, ("prediction",), examples(model))
    model.exporting = True
    write_half_graph(graph, path)
    model.exporting = False
    return graph


def mean_text(paths: list[Path], shares: list[float] | None) -> tuple[TextEncoder, Planner | None]:
    """The mean of text encoders and of their lists of things, where they have such. Tokens that one lacks are those of the first one."""
    found = [learnt(path) for path in paths]
    grown = [copy.deepcopy(found[0][0]) for _ in found]
    for encoder, (known, _) in zip(grown, found, strict=True):
        start_from(encoder, known)
    planners = [planner for _, planner in found if planner is not None]
    return mean_of(grown, shares), mean_of(planners, shares) if planners else None


def export_text(paths: list[Path], shares: list[float] | None, out: Path) -> None:
    """Writes the text encoder, and the list of things where there is one (see text/widen.py)."""
    tokenizer = Tokenizer.from_file(str(out / "tokenizer/tokenizer.json"))
    encoder, planner = mean_text(paths, shares)
    if encoder.tokens.num_embeddings != tokenizer.get_vocab_size():
        raise ValueError(f"Expected the text encoder to read the {tokenizer.get_vocab_size()} tokens of {out}, got one of {encoder.tokens.num_embeddings}. Copy its tokenizer there first.")
    prompts = tokenizer.encode_batch(["a chicken on a beach", "a pencil sketch of a fox spinning in the snow"])
    ids, mask = torch.tensor([p.ids for p in prompts]), torch.tensor([p.attention_mask for p in prompts])
    path = out / "text_encoder/model.onnx"
    examples = tuple((ids[:n, :l], mask[:n, :l]) for n, l in ((2, 32), (1, 9), (2, 13)))
    graph = Graph(round_to_half(encoder.eval().requires_grad_(False)), {"input_ids": (1,), "attention_mask": (1,)}, ("prompt_embeds",), examples)
    write_half_graph(graph, path)
    hold(path, compare(graph, path).relative, LARGEST)
    if planner is not None:
        relist(out / "transformer", planner)


def export_denoiser(denoiser: Denoiser, out: Path) -> None:
    path = out / "transformer/model.onnx"
    drop_whole_numbers(path.parent)
    graph = add_denoiser(round_to_half(denoiser.requires_grad_(False)), path)
    hold(path, compare(graph, path).relative, LARGEST)
    torch.set_num_threads(2)
    session = open_session(path)
    feed = {name: x.numpy() for name, x in zip(INPUTS, (*example(2, 7, 16, 16, 32), torch.zeros(2, 4, PICTURE, PICTURE)), strict=True)}
    session.run(None, feed)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        session.run(None, feed)
        seconds.append(time.perf_counter() - start)
    print(f"one guided step at 25 frames of 128x128 on 2 threads: {min(seconds):.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--denoiser", type=Path, nargs="+", help="checkpoints or bundles")
    parser.add_argument("--shares", type=float, nargs="+", help="of each denoiser in their mean")
    parser.add_argument("--text", type=Path, nargs="+", help="a text encoder's checkpoints, or bundles")
    parser.add_argument("--text-shares", type=float, nargs="+", help="of each text encoder in their mean")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder; what is not given stays as it is there")
    options = parser.parse_args()
    if options.denoiser is None and options.text is None:
        parser.error("Expected --denoiser, --text or both, got neither.")
    if options.shares is not None and options.denoiser is None:
        parser.error("Expected --denoiser with --shares, got none.")
    if options.text_shares is not None and options.text is None:
        parser.error("Expected --text with --text-shares, got none.")
    torch.set_num_threads(1)
    if options.text is not None:
        export_text(options.text, options.text_shares, options.out)
    if options.denoiser is not None:
        export_denoiser(mean_of([load_denoiser(path) for path in options.denoiser], options.shares), options.out)


if __name__ == "__main__":
    main()
