"""Turns a half of the VAE into one whose convolutions multiply whole numbers, for CPUs: 8 bits for what goes in, 7 for weights.

    python -m reel_tiny.vae.integers --bundle reel-tiny --data DATA --clips CLIPS

Writes `model_int8.onnx` beside each `model.onnx`. Every channel that goes in has a scale of its own, from what it is in rendered clips, and so has every
channel that comes out; sums are float32 again, so that nothing but what goes in and the weights is rounded. Weights are rounded one after the other, each
making up for what those before it did to the outputs (Frantar et al. 2022, "GPTQ", arXiv:2210.17323). They have 7 bits, as processors without VNNI add two
products of 8 bits in 16, which two products of 255 and 127 exceed.

What meets pixels or latents themselves (`linear`, `paint`, the decoder's `stem`, `head`) stays float32: it is little work, and errs the most. So does the
decoder's first mixing of frames, which alone would add a third to the error.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from export.graph import CPU_OPSET, write_graph
from export.precision import LARGEST_DIFFERENCE
from torch import Tensor, nn

from ..data.render import ClipRenderer
from ..export.graph import round_to_half
from ..weights import load_vae
from .export import compare_streams, half_graph
from .model import Block, CausalTime, CausalVae, Down, Half, Up, fold_time, gather_patches
from .stream import WHOLE_NUMBERS

# Largest whole number that a weight is.
LARGEST_WEIGHT = 63
# Where zero may lie among the 256 numbers that an activation can be: in the middle, or lower where few are negative.
ZEROS = (128, 96, 64, 32)
# Which shares of the largest value seen may be the largest that can be told.
SHARES = (1.0, 0.85, 0.7)
KEPT = {"encoder": ("linear", "head"), "decoder": ("linear", "stem", "paint", "coarse.0.time")}
# What onnxruntime may differ from PyTorch by, as a share of the largest value: numbers near the middle between two whole ones are rounded to either.
LARGEST = LARGEST_DIFFERENCE["int8"]
CLIPS, FRAMES, SIZE = 120, 17, 128
# Places of a channel that its scale is chosen by, a call.
PLACES = 300
# Of how many calls the first gives its moments, by every third of its frames: more say the same and take minutes.
MOMENTS_OF = 5


def to_whole(x: Tensor, one: Tensor, zero: Tensor) -> Tensor:
    """uint8 of float x in steps of 1, of which 0 becomes `zero`, a uint8."""
    if torch.compiler.is_exporting():
        return torch.onnx.ops.symbolic("QuantizeLinear", (x, one, zero), dtype=torch.uint8, shape=x.shape)
    return (x.round() + zero.float()).clamp(0, 255).to(torch.uint8)


def from_whole(x: Tensor, one: Tensor, zero: Tensor) -> Tensor:
    """The inverse of `to_whole` for whole numbers of steps."""
    if torch.compiler.is_exporting():
        return torch.onnx.ops.symbolic("DequantizeLinear", (x, one, zero), dtype=torch.float32, shape=x.shape)
    return x.float() - zero.float()


def multiply_whole(x: Tensor, weight: Tensor, one: Tensor, scale: Tensor, zero: Tensor, bias: Tensor) -> Tensor:
    """(x - zero) @ weight * scale + bias in float32: x uint8 [..., K], weight int8 [K, N], scale and bias [N]."""
    if torch.compiler.is_exporting():
        inputs = (x, weight, one, scale, zero, None, bias)
        return torch.onnx.ops.symbolic("com.microsoft::MatMulIntegerToFloat", inputs, dtype=torch.float32, shape=(*x.shape[:-1], weight.shape[1]), version=1)
    return ((x.float() - zero.float()) @ weight.float()) * scale + bias


class WholeProduct(nn.Module):
    """A convolution of 1x1 or 3x3 as one product of whole numbers over the patches around each position, channels last."""

    def __init__(self, rounded: Rounded):
        super().__init__()
        self.kernel = rounded.kernel
        self.register_buffer("weight", rounded.weight)
        self.register_buffer("scale", rounded.scale)
        self.register_buffer("bias", rounded.bias)
        self.register_buffer("zero", torch.tensor(rounded.zero, dtype=torch.uint8))
        self.register_buffer("one", torch.tensor(1.0))
        self.register_buffer("inverse", 1 / rounded.steps)
        self.outside = rounded.zero

    def take(self, x: Tensor) -> Tensor:
        """[N,H,W,C], in steps, as whole numbers."""
        return to_whole(x, self.one, self.zero)

    def multiply(self, x: Tensor) -> Tensor:
        """[N,H,W,C'] of what `take` gave."""
        if self.kernel == 3:
            x = neighbourhoods(F.pad(x, (0, 0, 1, 1, 1, 1), value=self.outside))
        return multiply_whole(x, self.weight, self.one, self.scale, self.zero, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[N,H,W,C'] of [N,H,W,C]."""
        return self.multiply(self.take(x * self.inverse))


class WholeConv(nn.Module):
    """In place of a convolution."""

    def __init__(self, rounded: Rounded):
        super().__init__()
        self.product = WholeProduct(rounded)

    def forward(self, x: Tensor) -> Tensor:
        whole = self.product.take(x * self.product.inverse[:, None, None])
        return channels_first(self.product.multiply(channels_last(whole)))


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
        h = F.silu(self.inner.multiply(self.inner.take(normalised(x, self.gain))))
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
        seen = torch.cat([before, self.product.take(normalised(x, self.gain))])
        after = seen[-frames * batch :].reshape(frames, batch, h * w * c).transpose(0, 1)
        after = after.reshape(batch, frames * h * w, c).transpose(1, 2).reshape(state.shape)
        return self.product.multiply(side_by_side(seen, batch, 3)), from_whole(after, self.product.one, self.product.zero)


def channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def neighbourhoods(x: Tensor) -> Tensor:
    """[N,H,W,9*C] of [N,H+2,W+2,C]: what lies around each position, row by row. Picked by index, as slices would be copied one by one before they are joined."""
    n, height, width, c = x.shape
    corners = torch.arange(height - 2)[:, None] * width + torch.arange(width - 2)
    around = torch.arange(3)[:, None] * width + torch.arange(3)
    picked = (corners[:, :, None, None] + around).flatten()
    return x.flatten(1, 2).index_select(1, picked).reshape(n, height - 2, width - 2, 9 * c)


def normalised(x: Tensor, gain: Tensor) -> Tensor:
    """What Norm does, with channels last."""
    if torch.compiler.is_exporting():
        return torch.onnx.ops.symbolic("RMSNormalization", (x, gain), {"axis": -1, "epsilon": 1e-6}, dtype=torch.float32, shape=x.shape)
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * gain


def side_by_side(seen: Tensor, batch: int, axis: int) -> Tensor:
    """Each frame behind the two before it, along the axis of channels."""
    return torch.cat([seen[: -2 * batch], seen[batch:-batch], seen[2 * batch :]], axis)


@dataclass
class Seen:
    """What went into a convolution: ranges and samples of its channels, and the second moments of its patches with a 1 behind."""

    low: Tensor | None = None
    high: Tensor | None = None
    samples: list[Tensor] = field(default_factory=list)
    moments: Tensor | None = None
    count: int = 0

    def add(self, x: Tensor, kernel: int) -> None:
        """x [N,C,H,W], of a call."""
        low, high = x.amin((0, 2, 3)), x.amax((0, 2, 3))
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)
        rows = x.transpose(0, 1).flatten(1)
        self.samples.append(rows[:, :: max(1, rows.shape[1] // PLACES)].clone())
        if len(self.samples) % MOMENTS_OF != 1:
            return
        patches = F.unfold(x[::3], kernel, padding=kernel // 2).transpose(0, 1).flatten(1)
        patches = torch.cat([patches, patches.new_ones(1, patches.shape[1])])
        moments = patches @ patches.T
        self.moments = moments if self.moments is None else self.moments + moments
        self.count += patches.shape[1]


@dataclass(frozen=True)
class Rounded:
    """A convolution in whole numbers."""

    kernel: int
    # int8 [K*K*C, N], patches row by row and channels last, as WholeProduct lays them.
    weight: Tensor
    # [N]: what a step of the sum is worth.
    scale: Tensor
    bias: Tensor
    # [C]: what a step of each input channel is worth, and which number stands for 0.
    steps: Tensor
    zero: int


def choose_steps(seen: Seen, shared: int) -> tuple[Tensor, int]:
    """The step [C] of each channel and the number for zero that err least in the mean square. Of `shared` frames side by side all have the same steps."""
    samples = torch.cat(seen.samples, 1)
    low, high = seen.low.unflatten(0, (shared, -1)).amin(0), seen.high.unflatten(0, (shared, -1)).amax(0)
    samples = samples.unflatten(0, (shared, -1)).transpose(0, 1).flatten(1)
    best: tuple[float, Tensor, int] | None = None
    for zero in ZEROS:
        whole = torch.maximum(high / (255 - zero), -low / zero)
        # A channel in which nothing happens needs no finer steps than these, by which its norm has to be divided.
        whole = whole.clamp_min(1e-3 * float(whole.max()))
        errors = torch.stack([(told(samples, whole * share, zero) - samples).pow(2).mean(1) for share in SHARES])
        least, which = errors.min(0)
        if best is None or float(least.mean()) < best[0]:
            best = float(least.mean()), whole * torch.tensor(SHARES)[which], zero
    return best[1].repeat(shared), best[2]


def told(x: Tensor, steps: Tensor, zero: int) -> Tensor:
    """x [C, n] as whole numbers tell it."""
    return ((x / steps[:, None]).round() + zero).clamp(0, 255).sub(zero) * steps[:, None]


def round_weights(weight: Tensor, moments: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers [N, K] and the step [N] of each row for weights [N, K] of inputs whose covariance is `moments` [K, K]."""
    covariance = moments.clone()
    covariance.diagonal().add_(0.01 * covariance.diagonal().mean())
    # What varies most is rounded first, when there is most left to make up for it.
    order = covariance.diagonal().argsort(descending=True)
    covariance = covariance[order][:, order].double()
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(covariance)), upper=True).float()
    steps = (weight.abs().amax(1) / LARGEST_WEIGHT).clamp_min(1e-12)
    left, whole = weight[:, order].clone(), torch.empty_like(weight)
    for start in range(0, left.shape[1], 128):
        end = min(start + 128, left.shape[1])
        errors = torch.empty(len(left), end - start)
        for column in range(start, end):
            whole[:, column] = (left[:, column] / steps).round().clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT)
            error = (left[:, column] - whole[:, column] * steps) / factor[column, column]
            left[:, column + 1 : end] -= error[:, None] * factor[column, column + 1 : end]
            errors[:, column - start] = error
        left[:, end:] -= errors @ factor[start:end, end:]
    return whole[:, order.argsort()], steps


def round_conv(weight: Tensor, bias: Tensor, seen: Seen, shared: int) -> Rounded:
    """weight [N,C,k,k], bias [N]; `shared` as in choose_steps."""
    kernel = weight.shape[2]
    steps, zero = choose_steps(seen, shared)
    by_patch = steps.repeat_interleave(kernel**2)
    moments = seen.moments / seen.count
    mean = moments[-1, :-1]
    # The mean of what rounding does to the outputs goes into the bias, so that only what varies counts.
    covariance = (moments[:-1, :-1] - torch.outer(mean, mean)) / by_patch[:, None] / by_patch
    rows = weight.flatten(1) * by_patch
    whole, scale = round_weights(rows, covariance)
    bias = bias - (whole * scale[:, None] - rows) @ (mean / by_patch)
    weight = whole.unflatten(1, (-1, kernel, kernel)).permute(2, 3, 1, 0).flatten(0, 2).to(torch.int8)
    return Rounded(kernel, weight.contiguous(), scale, bias, steps, zero)


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
    seen = {key: Seen() for key in found}

    def watch(key: tuple[str, str]) -> Callable:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[key].add(given_to(module, inputs), module.kernel_size[0] if isinstance(module, nn.Conv2d) else 1)

        return hook

    hooks = [module.register_forward_pre_hook(watch(key)) for key, module in found.items()]
    for clip in clips:
        vae.decode(vae.encode(clip))
    for hook in hooks:
        hook.remove()
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
        whole = in_whole_numbers(getattr(vae, name), rounded)
        path = a.bundle / f"vae_{name}" / WHOLE_NUMBERS
        graph = half_graph(round_to_half(whole), name == "encoder")
        write_graph(graph, path, "fp16", CPU_OPSET, tells_sizes=False)
        worst = compare_streams(graph, path).relative
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, within {worst:.1e} of PyTorch's largest value", flush=True)
        if worst > LARGEST:
            raise RuntimeError(f"Expected the {name} in onnxruntime to be within {LARGEST} of PyTorch's largest value, got {worst:.1e}.")


if __name__ == "__main__":
    main()
