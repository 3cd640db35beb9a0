"""Stores the weights of most of the VAE's convolutions in 7 bits, and writes a second graph of each half for CPUs that multiplies whole numbers there.

    python -m reel_tiny.vae.integers --bundle reel-tiny --data DATA --clips CLIPS

As `reel_tiny.integers` says. Of both graphs `model.onnx` is for devices that have no such products. Their weights lie in one file beside them.

What meets pixels or latents themselves (`linear`, `paint`, the decoder's `stem`, `head`) stays float32: it is little work, and errs the most. So does the
decoder's first mixing of frames, which alone would add a third to the error. What changes the size of pictures has its channels in another order on CPUs,
so those few weights are stored for other devices once more, as float16.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from export.graph import CPU_OPSET, OPSET, write_graph
from export.precision import LARGEST_DIFFERENCE
from export.sharing import share_weights
from torch import Tensor, nn

from ..data.render import ClipRenderer
from ..export.graph import hold, round_to_half
from ..integers import WEIGHTS, WHOLE_NUMBERS, FloatConv, Rounded, Seen, WholeConv, WholeProduct, channels_first, channels_last, from_whole, normalised, round_conv, watching
from ..weights import load_vae
from .export import LARGEST, compare_streams, half_graph
from .model import EPSILON, STATE_FRAMES, Block, CausalTime, CausalVae, Down, Half, Up, fold_time, gather_patches, unfold_time

KEPT = {"encoder": ("linear", "head"), "decoder": ("linear", "stem", "paint", "coarse.0.time")}
CLIPS, FRAMES, SIZE = 120, 17, 128
# Of how many calls the first gives its moments, by every third of its frames: more say the same and take minutes.
MOMENTS_OF = 5


class WholeDown(nn.Module):
    """In place of Down. Channels last, two neighbours in a row are one already; the weights' inputs lie in that order."""

    def __init__(self, rounded: Rounded):
        super().__init__()
        order = torch.arange(len(rounded.weight)).unflatten(0, (-1, 2, 2)).permute(1, 2, 0).flatten()
        self.product = WholeProduct(replace(rounded, weight=rounded.weight[order], steps=rounded.steps[order]))

    def forward(self, x: Tensor) -> Tensor:
        x = channels_last(x)
        n, height, width, c = x.shape
        h, w = height // 2, width // 2
        x = x.reshape(n, h, 2, w, 2 * c).transpose(2, 3)
        return channels_first(self.product(x.reshape(n, h, w, 4 * c)))


class WholeUp(nn.Module):
    """In place of Up, likewise."""

    def __init__(self, rounded: Rounded):
        super().__init__()
        order = torch.arange(len(rounded.scale)).unflatten(0, (-1, 2, 2)).permute(1, 2, 0).flatten()
        self.product = WholeProduct(replace(rounded, weight=rounded.weight[:, order], scale=rounded.scale[order], bias=rounded.bias[order]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.product(channels_last(x))
        n, h, w, c = x.shape
        x = x.reshape(n, h, w, 2, c // 2).transpose(2, 3)
        return channels_first(x.reshape(n, 2 * h, 2 * w, c // 4))


class WholeBlock(nn.Module):
    """In place of a Block: all of it with channels last, frames mixed in one product, and what is normalised in steps, as its states are."""

    def __init__(self, block: Block, inner: Rounded, time: Rounded | None, outer: Rounded):
        super().__init__()
        self.register_buffer("gain", block.norm.gain.flatten() / inner.steps)
        self.inner = WholeProduct(inner)
        self.time = block.time if time is None else WholeTime(block.time, time)
        self.outer = WholeProduct(outer)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        x = channels_last(x)
        h = F.silu(self.inner.multiply(self.inner.take(normalised(x, self.gain, EPSILON))))
        if isinstance(self.time, WholeTime):
            mixed, state = self.time(h, state)
        else:
            mixed, state = self.time(channels_first(h), state)
            mixed = channels_last(mixed)
        return channels_first(x + self.outer(h + mixed)), state


class WholeTime(nn.Module):
    """In place of CausalTime: its three convolutions as one product, channels last. States are whole numbers of steps; their axes are moved as bytes."""

    def __init__(self, time: CausalTime, rounded: Rounded):
        super().__init__()
        self.register_buffer("gain", time.norm.gain.flatten() / rounded.steps[: len(time.norm.gain)])
        self.product = WholeProduct(rounded)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        batch, c, frames, h, w = state.shape
        before = self.product.take(state).reshape(batch, c, frames * h * w).transpose(1, 2)
        before = before.reshape(batch, frames, h * w * c).transpose(0, 1).reshape(frames * batch, h, w, c)
        seen = torch.cat([before, self.product.take(normalised(x, self.gain, EPSILON))])
        after = seen[-frames * batch :].reshape(frames, batch, h * w * c).transpose(0, 1)
        after = after.reshape(batch, frames * h * w, c).transpose(1, 2).reshape(state.shape)
        return self.product.multiply(side_by_side(seen, batch, 3)), from_whole(after, self.product.one, self.product.zero)


def side_by_side(seen: Tensor, batch: int, axis: int) -> Tensor:
    """Each frame behind the two before it, along the axis of channels."""
    return torch.cat([seen[: -2 * batch], seen[batch:-batch], seen[2 * batch :]], axis)


class FloatTime(nn.Module):
    """The CausalTime whose product a WholeTime rounds, as devices run it that have no such product."""

    def __init__(self, time: CausalTime, rounded: Rounded):
        super().__init__()
        self.norm, self.mix = time.norm, FloatConv(rounded)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        batch = state.shape[0]
        seen = torch.cat([fold_time(state), self.norm(x)])
        return self.mix(side_by_side(seen, batch, 1)), unfold_time(seen[-STATE_FRAMES * batch :], batch)


def products(half: Half, kept: tuple[str, ...]) -> Iterator[tuple[str, nn.Module]]:
    """What is to multiply whole numbers, by name: convolutions, and the three of a CausalTime as one."""
    times = [name for name, module in half.named_modules() if isinstance(module, CausalTime)]
    for name, module in half.named_modules():
        is_part = any(name.startswith(f"{time}.") for time in times)
        if isinstance(module, (CausalTime, nn.Conv2d)) and name not in kept and not is_part:
            yield name, module


def given_to(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """What the product of a module multiplies: [N,C,H,W], of a CausalTime three frames side by side."""
    if isinstance(module, CausalTime):
        x, state = inputs
        return side_by_side(torch.cat([fold_time(state), module.norm(x)]), len(state), 1)
    return gather_patches(inputs[0], 2) if isinstance(module, Down) else inputs[0]


def rounded_product(module: nn.Module, seen: Seen) -> Rounded:
    if isinstance(module, nn.Conv2d):
        return round_conv(module.weight, module.bias, seen, 1)
    return round_conv(torch.cat([module.early.weight, module.middle.weight, module.late.weight], 1), module.late.bias, seen, 3)


def measure(vae: CausalVae, clips: Iterator[Tensor]) -> dict[str, dict[str, Rounded]]:
    """Both halves' products in whole numbers by name, for clips [1,3,4k+1,H,W] like those given."""
    halves = {"encoder": vae.encoder, "decoder": vae.decoder}
    found = {(name, path): module for name, half in halves.items() for path, module in products(half, KEPT[name])}

    def add(seen: Seen, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kernel = module.kernel_size[0] if isinstance(module, nn.Conv2d) else 1
        seen.add(given_to(module, inputs), kernel, every=3 if len(seen.samples) % MOMENTS_OF == 0 else 0)

    with watching(found, add) as seen:
        for clip in clips:
            vae.decode(vae.encode(clip))
    rounded: dict[str, dict[str, Rounded]] = {name: {} for name in halves}
    for (name, path), module in found.items():
        rounded[name][path] = rounded_product(module, seen.pop((name, path)))
    return rounded


REPLACED = {nn.Conv2d: WholeConv, Down: WholeDown, Up: WholeUp}


def in_whole_numbers(half: Half, rounded: dict[str, Rounded]) -> Half:
    """The half with these products by name."""
    half = copy.deepcopy(half)
    for name, module in list(half.named_modules()):
        parent_name, _, own = name.rpartition(".")
        if isinstance(module, Block):
            made = WholeBlock(module, rounded[f"{name}.inner"], rounded.get(f"{name}.time"), rounded[f"{name}.outer"])
        # Convolutions inside a block are replaced with it.
        elif isinstance(module, nn.Conv2d) and name in rounded and "." not in name:
            made = REPLACED[type(module)](rounded[name])
        else:
            continue
        setattr(half.get_submodule(parent_name), own, made)
    return half


def with_whole_weights(half: Half, rounded: dict[str, Rounded]) -> Half:
    """The half in float32, with the weights that these products have, but for those that change the size."""
    half = copy.deepcopy(half)
    for name, product in rounded.items():
        module = half.get_submodule(name)
        parent_name, _, own = name.rpartition(".")
        if isinstance(module, CausalTime):
            setattr(half.get_submodule(parent_name), own, FloatTime(module, product))
        elif not isinstance(module, (Down, Up)):
            setattr(half.get_submodule(parent_name), own, FloatConv(product))
    return half


def write_graphs(half: Half, rounded: dict[str, Rounded], folder: Path, is_encoder: bool) -> None:
    """Writes the graph for CPUs, the one for other devices and their weights, and holds both against PyTorch."""
    made = {
        WHOLE_NUMBERS: (in_whole_numbers(half, rounded), CPU_OPSET, LARGEST_DIFFERENCE["int8"]),
        "model.onnx": (with_whole_weights(half, rounded), OPSET, LARGEST),
    }
    graphs = {folder / name: half_graph(round_to_half(module), is_encoder) for name, (module, _, _) in made.items()}
    for path, graph in graphs.items():
        write_graph(graph, path, "fp16", made[path.name][1], tells_sizes=False)
    share_weights(list(graphs), WEIGHTS)
    for path, graph in graphs.items():
        hold(path, compare_streams(graph, path).relative, made[path.name][2])


def rendered_clips(data: Path, clips: Path) -> Iterator[Tensor]:
    """Clips [1,3,FRAMES,SIZE,SIZE] as the VAE was trained on."""
    renderer = ClipRenderer(data, clips, 2027)
    for _ in range(CLIPS):
        yield torch.from_numpy(renderer.clip(FRAMES, SIZE)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="what reel_tiny.data.prepare made")
    parser.add_argument("--clips", type=Path, required=True)
    a = parser.parse_args()
    vae = load_vae(a.bundle).requires_grad_(False)
    for name, rounded in measure(vae, rendered_clips(a.data, a.clips)).items():
        write_graphs(getattr(vae, name), rounded, a.bundle / f"vae_{name}", name == "encoder")


if __name__ == "__main__":
    main()
