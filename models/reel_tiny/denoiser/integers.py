"""Stores the weights of most of the denoiser's convolutions in 7 bits, and writes a second graph for CPUs that multiplies whole numbers there.

    python -m reel_tiny.denoiser.integers --bundle reel-tiny [--cache CACHE] [--follow FOLLOW_CHECKPOINT]

Of both graphs `model.onnx` is for devices that have no such products. Their weights lie in one file beside them. Inputs like those that the bundle sees come
from a cache (`denoiser.cache`), at the noise levels of its steps. Without one the weights stay the whole numbers that the bundle has, and the graphs
become those of today's network. `--follow` is what `denoiser.learn_follow` learnt.

What works at the size of the latents (`fine_in`, `fine_out` and what leads there) stays float32: rounded to whole numbers, it alone made four fifths of the
error, and clips jump where nothing moves.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from export.graph import CPU_OPSET, OPSET, Graph, compare, open_session, write_graph
from export.layout import read_weights
from export.precision import LARGEST_DIFFERENCE
from export.sharing import share_weights
from tokenizers import Tokenizer
from torch import Tensor, nn

from ..export.graph import hold, round_to_half
from ..export.manifest import DEFAULTS, noise_levels
from ..integers import WEIGHTS, WHOLE_NUMBERS, FloatConv, Rounded, WholeConv, WholeProduct, channels_first, channels_last, normalised, round_conv, watching
from ..weights import grown, load_denoiser
from . import export
from .network import EPSILON, Denoiser, Norm, Placing, Residual, Space, SpaceTime, TemporalConv, Time
from .tasks import Tasks

# The parts that stay float32.
KEPT = ("stem", "out", "draft_in", "draft_out", "fine_in", "fine_out", "fine_in_time", "fine_out_time", "up1", "skip1", "follow")
CALLS = 160


class LastNorm(nn.Module):
    """In place of Norm, with channels last."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.weight = norm.weight

    def forward(self, x: Tensor) -> Tensor:
        return channels_first(normalised(channels_last(x), self.weight, EPSILON))


class WholeResidual(nn.Module):
    """In place of Residual."""

    def __init__(self, block: Residual, first: Rounded, second: Rounded) -> None:
        super().__init__()
        self.weight = block.norm.weight
        self.conv1, self.modulation, self.conv2 = WholeProduct(first), block.modulation, WholeProduct(second)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        x = channels_last(x)
        scale, shift = self.modulation(embedding)[:, None, None].chunk(2, 3)
        h = F.silu(self.conv1(F.silu(normalised(x, self.weight, EPSILON))) * (1 + scale) + shift)
        return channels_first(x + self.conv2(h))


class WholeTemporalConv(nn.Module):
    """In place of TemporalConv."""

    def __init__(self, block: TemporalConv, mix: Rounded) -> None:
        super().__init__()
        self.weight, self.mix = block.norm.weight, WholeProduct(mix)
        self.channels = len(self.weight)

    def forward(self, x: Tensor, frames: int, gate: Tensor | float) -> Tensor:
        x = channels_last(x)
        h = F.silu(normalised(x, self.weight, EPSILON)) * self.mix.inverse[: self.channels]
        h = self.mix.take(h).unflatten(0, (-1, frames))
        edge = torch.full_like(h[:, :1], self.mix.outside)
        near = torch.cat([torch.cat([edge, h[:, :-1]], 1), h, torch.cat([h[:, 1:], edge], 1)], 4)
        return channels_first(x + gate * self.mix.multiply(near.flatten(0, 1)))


def convolutions(denoiser: Denoiser) -> dict[str, nn.Conv2d]:
    """What is to multiply whole numbers, by name."""
    return {name: module for name, module in denoiser.named_modules() if isinstance(module, nn.Conv2d) and name.partition(".")[0] not in KEPT}


def measure(denoiser: Denoiser, calls: Iterable[tuple[Tensor, ...]]) -> dict[str, Rounded]:
    """The convolutions in whole numbers by name, for inputs like those given."""
    found = convolutions(denoiser)
    with watching(found, lambda seen, conv, inputs: seen.add(inputs[0], conv.kernel_size[0], conv.stride[0])) as seen:
        for inputs in calls:
            denoiser(*inputs)
    # The three frames that mix have the same steps, so that each is rounded once.
    return {name: round_conv(conv.weight, conv.bias, seen.pop(name), 3 if name.endswith(".mix") else 1) for name, conv in found.items()}


def stored(denoiser: Denoiser, folder: Path) -> dict[str, Rounded]:
    """The convolutions in whole numbers by name, as the graphs in `folder` have them."""
    held, zeros = read_weights(folder / "model.onnx"), read_weights(folder / WHOLE_NUMBERS)

    def read(name: str, conv: nn.Conv2d) -> Rounded:
        weight, scale, bias, inverse = (torch.tensor(held[f"{name}.{part}"]) for part in ("weight", "scale", "bias", "inverse"))
        zero = zeros.get(f"{name}.zero", zeros.get(f"{name}.product.zero"))
        return Rounded(conv.kernel_size[0], weight, scale, bias, 1 / inverse, int(zero))

    return {name: read(name, conv) for name, conv in convolutions(denoiser).items()}


def in_whole_numbers(denoiser: Denoiser, rounded: dict[str, Rounded]) -> Denoiser:
    """The denoiser with these convolutions by name."""
    denoiser = copy.deepcopy(denoiser)
    for module in list(denoiser.modules()):
        if isinstance(module, (SpaceTime, Space, Time, Placing)):
            for own, norm in list(module.named_children()):
                if isinstance(norm, Norm):
                    setattr(module, own, LastNorm(norm))
    for name, module in list(denoiser.named_modules()):
        parent_name, _, own = name.rpartition(".")
        if isinstance(module, Residual) and f"{name}.conv1" in rounded:
            made = WholeResidual(module, rounded[f"{name}.conv1"], rounded[f"{name}.conv2"])
        elif isinstance(module, TemporalConv) and f"{name}.mix" in rounded:
            made = WholeTemporalConv(module, rounded[f"{name}.mix"])
        elif isinstance(module, nn.Conv2d) and name in rounded and "." not in name:
            made = WholeConv(rounded[name], module.stride[0])
        else:
            continue
        setattr(denoiser.get_submodule(parent_name), own, made)
    return denoiser


def with_whole_weights(denoiser: Denoiser, rounded: dict[str, Rounded]) -> Denoiser:
    """The denoiser in float32, with the weights that these convolutions have."""
    denoiser = copy.deepcopy(denoiser)
    for name, conv in convolutions(denoiser).items():
        parent_name, _, own = name.rpartition(".")
        setattr(denoiser.get_submodule(parent_name), own, FloatConv(rounded[name], conv.stride[0]))
    return denoiser


def calls_like(bundle: Path, cache: Path) -> Iterator[tuple[Tensor, ...]]:
    """CALLS inputs of the denoiser: samples of all tasks, three of four whole clips, at the noise levels of the bundle's steps."""
    words = open_session(bundle / "text_encoder/model.onnx")
    tasks = Tasks(cache, Tokenizer.from_file(str(bundle / "tokenizer/tokenizer.json")), 5)
    generator = torch.Generator().manual_seed(0)
    for call in range(CALLS):
        sample = tasks.batch(1, clips=call % 4 != 3)
        embeds = words.run(None, {"input_ids": sample.tokens.numpy(), "attention_mask": sample.attention.numpy()})[0]
        sigma = noise_levels()[int(torch.randint(DEFAULTS["steps"], (1,), generator=generator))]
        target = sample.target.float()
        noisy = (1 - sigma) * target + sigma * torch.randn(target.shape, generator=generator)
        yield noisy, torch.tensor([1000 * sigma]), torch.from_numpy(embeds), sample.condition.float(), sample.mask.float()


def write_graphs(denoiser: Denoiser, rounded: dict[str, Rounded], folder: Path) -> None:
    """Writes the graph for CPUs, the one for other devices and their weights, and holds both against PyTorch."""
    made = {
        "model.onnx": (with_whole_weights(denoiser, rounded), OPSET, export.LARGEST),
        WHOLE_NUMBERS: (in_whole_numbers(denoiser, rounded), CPU_OPSET, LARGEST_DIFFERENCE["int8"]),
    }
    graphs = {folder / name: Graph(round_to_half(module), export.INPUTS, ("prediction",), export.examples(module)) for name, (module, _, _) in made.items()}
    for path, graph in graphs.items():
        write_graph(graph, path, "fp16", made[path.name][1])
    share_weights(list(graphs), WEIGHTS)
    for path, graph in graphs.items():
        hold(path, compare(graph, path).relative, made[path.name][2])


def following(denoiser: Denoiser, checkpoint: Path) -> Denoiser:
    """The denoiser with what `denoiser.learn_follow` learnt, in the place that a bundle's has it in."""
    made = Denoiser(replace(denoiser.config, follows=True)).eval().requires_grad_(False)
    made.exporting, denoiser.follow = denoiser.exporting, None
    grown(made, denoiser).follow.load_state_dict(torch.load(checkpoint, weights_only=True))
    return made


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--follow", type=Path)
    a = parser.parse_args()
    folder = a.bundle / "transformer"
    if a.cache is None and not (folder / WHOLE_NUMBERS).exists():
        parser.error(f"Expected --cache, as {a.bundle} has no whole numbers yet, got none.")
    denoiser = load_denoiser(a.bundle).requires_grad_(False)
    denoiser.exporting = True
    if a.follow is not None:
        denoiser = following(denoiser, a.follow)
    write_graphs(denoiser, stored(denoiser, folder) if a.cache is None else measure(denoiser, calls_like(a.bundle, a.cache)), folder)


if __name__ == "__main__":
    main()
