"""Convolutions in whole numbers, for CPUs: 8 bits for what goes in, 7 for weights.

Every channel that goes in has a scale of its own, from what it is in examples, and so has every channel that comes out; sums are float32 again, so that
nothing but what goes in and the weights is rounded. Weights are rounded one after the other, each making up for what those before it did to the outputs
(Frantar et al. 2022, "GPTQ", arXiv:2210.17323). They have 7 bits, as processors without VNNI add two products of 8 bits in 16, which two products of 255 and 127 exceed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Key = TypeVar("Key")
# What the graph for CPUs is called, and the file of weights where two graphs share them.
WHOLE_NUMBERS, WEIGHTS = "model_int8.onnx", "weights.bin"
# Largest whole number that a weight is.
LARGEST_WEIGHT = 63
# Where zero may lie among the 256 numbers that an activation can be: in the middle, or lower where few are negative.
ZEROS = (128, 96, 64, 32)
# Which shares of the largest value seen may be the largest that can be told.
SHARES = (1.0, 0.85, 0.7)
# Places of a channel that its scale is chosen by, a call.
PLACES = 300


def drop_whole_numbers(folder: Path) -> None:
    """Removes the graph for CPUs, whose weights are those of an older network once another is exported."""
    for name in (WHOLE_NUMBERS, WEIGHTS):
        (folder / name).unlink(missing_ok=True)


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

    def __init__(self, rounded: Rounded, stride: int = 1):
        super().__init__()
        self.kernel, self.stride = rounded.kernel, stride
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
            x = neighbourhoods(F.pad(x, (0, 0, 1, 1, 1, 1), value=self.outside), self.stride)
        return multiply_whole(x, self.weight, self.one, self.scale, self.zero, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[N,H,W,C'] of [N,H,W,C]."""
        return self.multiply(self.take(x * self.inverse))


class WholeConv(nn.Module):
    """In place of a convolution."""

    def __init__(self, rounded: Rounded, stride: int = 1):
        super().__init__()
        self.product = WholeProduct(rounded, stride)

    def forward(self, x: Tensor) -> Tensor:
        whole = self.product.take(x * self.product.inverse[:, None, None])
        return channels_first(self.product.multiply(channels_last(whole)))


class FloatConv(nn.Module):
    """The convolution whose inputs a WholeProduct rounds, as devices run it that have no such product: weights are whole numbers, made float32 on opening."""

    def __init__(self, rounded: Rounded, stride: int = 1):
        super().__init__()
        self.kernel, self.stride = rounded.kernel, stride
        held = {"weight": rounded.weight, "scale": rounded.scale, "inverse": 1 / rounded.steps, "bias": rounded.bias}
        for name, values in held.items():
            setattr(self, name, nn.Parameter(values, requires_grad=False))

    def forward(self, x: Tensor) -> Tensor:
        weight = float_weight(self.weight, self.scale, self.inverse, self.kernel)
        return F.conv2d(x, weight, self.bias, self.stride, self.kernel // 2)


def float_weight(weight: Tensor, scale: Tensor, inverse: Tensor, kernel: int) -> Tensor:
    """[N,C,k,k] of what a FloatConv has."""
    rows = weight.float().reshape(kernel, kernel, -1, len(scale))
    return (rows * inverse[:, None] * scale).permute(3, 2, 0, 1)


def channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def neighbourhoods(x: Tensor, stride: int = 1) -> Tensor:
    """[N,H/stride,W/stride,9*C] of [N,H+2,W+2,C], rounded up: what lies around each position, or around one in `stride` of them, row by row.

    Picked by index, as slices would be copied one by one before they are joined.
    """
    n, height, width, c = x.shape
    h, w = (height - 3) // stride + 1, (width - 3) // stride + 1
    corners = (torch.arange(h)[:, None] * width + torch.arange(w)) * stride
    around = torch.arange(3)[:, None] * width + torch.arange(3)
    picked = (corners[:, :, None, None] + around).flatten()
    return x.flatten(1, 2).index_select(1, picked).reshape(n, h, w, 9 * c)


def normalised(x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
    """Root-mean-square norm over the last axis, times `gain`."""
    if torch.compiler.is_exporting():
        return torch.onnx.ops.symbolic("RMSNormalization", (x, gain), {"axis": -1, "epsilon": epsilon}, dtype=torch.float32, shape=x.shape)
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + epsilon) * gain


@dataclass
class Seen:
    """What went into a convolution: ranges and samples of its channels, and the second moments of its patches with a 1 behind."""

    low: Tensor | None = None
    high: Tensor | None = None
    samples: list[Tensor] = field(default_factory=list)
    moments: Tensor | None = None
    count: int = 0

    def add(self, x: Tensor, kernel: int, stride: int = 1, every: int = 1) -> None:
        """x [N,C,H,W], of a call; for the moments only `every` so many of the N count, or none where that is 0."""
        low, high = x.amin((0, 2, 3)), x.amax((0, 2, 3))
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)
        rows = x.transpose(0, 1).flatten(1)
        self.samples.append(rows[:, :: max(1, rows.shape[1] // PLACES)].clone())
        if every == 0:
            return
        patches = F.unfold(x[::every], kernel, padding=kernel // 2, stride=stride).transpose(0, 1).flatten(1)
        patches = torch.cat([patches, patches.new_ones(1, patches.shape[1])])
        moments = patches @ patches.T
        self.moments = moments if self.moments is None else self.moments + moments
        self.count += patches.shape[1]


@contextlib.contextmanager
def watching(modules: Mapping[Key, nn.Module], add: Callable[[Seen, nn.Module, tuple[Tensor, ...]], None]) -> Iterator[dict[Key, Seen]]:
    """What goes into each of the modules while they are run: `add` tells a Seen what it was."""
    seen = {key: Seen() for key in modules}

    def watch(key: Key) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda module, inputs: add(seen[key], module, inputs)

    hooks = [module.register_forward_pre_hook(watch(key)) for key, module in modules.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


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
