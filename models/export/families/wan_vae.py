"""Wan's causal VAE, one latent frame at a time: models/autoencoders/autoencoder_kl_wan.py of diffusers."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, WanUpsample, patchify, unpatchify
from torch import Tensor, nn
from torch.nn import functional as F

from ..bundle import BundleWriter
from ..graph import Graph

# Frames that a causal convolution looks back.
KEPT_FRAMES = 2


class FrameConvolution(WanCausalConv3d):
    """The same convolution, a frame of the result at a time: over time and channels at once it is one over pictures, for which
    onnxruntime has the faster code."""

    def forward(self, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        frames, height, width = self.kernel_size
        wide, _, high, _, before, _ = self._padding
        if cache_x is not None and before > 0:
            x = torch.cat([cache_x, x], 2)
            before -= cache_x.shape[2]
        if before > 0:
            x = F.pad(x, (0, 0, 0, 0, before, 0))
        if height == width == 1:
            # Over time alone, with positions in one row.
            flat = F.conv2d(x.flatten(3), self.weight.flatten(3), self.bias, (self.stride[0], 1))
            return flat.unflatten(3, x.shape[3:])
        weight = self.weight.flatten(1, 2)
        starts = range(0, x.shape[2] - frames + 1, self.stride[0])
        parts = [F.conv2d(x[:, :, at : at + frames].flatten(1, 2), weight, self.bias, self.stride[1:], (high, wide)) for at in starts]
        return torch.stack(parts, 2)


class VaeHalf(nn.Module):
    """One half of the VAE, a latent frame at a time. Children have the names that they have in AutoencoderKLWan.

    With `in_pictures` its convolutions are FrameConvolutions.

    Its states are the caches of the official code, each of one length: an empty cache, and the mark of one that is still to
    be filled, mean zeros in front, which is how the convolutions pad.
    """

    def __init__(self, vae: AutoencoderKLWan, network: nn.Module, in_pictures: bool):
        super().__init__()
        for module in network.modules():
            if in_pictures and type(module) is WanCausalConv3d:
                module.__class__ = FrameConvolution
        self.cache_places = sum(isinstance(module, WanCausalConv3d) for module in network.modules())
        # Caches of one frame, by number.
        self.short_caches: tuple[int, ...] = ()
        # Pixels a position, in height and in width, that are moved into channels.
        self.patch: int = vae.config.patch_size or 1
        shape = (1, vae.config.z_dim, 1, 1, 1)
        self.register_buffer("latents_mean", torch.tensor(vae.config.latents_mean).view(shape))
        self.register_buffer("latents_std", torch.tensor(vae.config.latents_std).view(shape))

    def run(self, x: Tensor, caches: list, is_first: bool) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        caches: list[Any] = [*states, *([None] * (self.cache_places - len(states)))]
        result = self.run(x, caches, is_first=not states)
        if states:
            return result, *caches[: len(states)]
        used = [cache for cache in caches if cache is not None]
        return result, *(self.filled(used, number) for number in range(len(used)))

    def filled(self, caches: list, number: int) -> Tensor:
        """A cache as it stands after the first frame, filled up with zeros."""
        cache = caches[number]
        if isinstance(cache, str):
            # The convolution before it has the same channels and size.
            return torch.zeros_like(caches[number - 1]).repeat(1, 1, KEPT_FRAMES, 1, 1)
        return cache if number in self.short_caches else F.pad(cache, (0, 0, 0, 0, KEPT_FRAMES - 1, 0))


class Encoder(VaeHalf):
    """Pixels to the mean of the posterior, scaled to unit variance."""

    def __init__(self, vae: AutoencoderKLWan, in_pictures: bool = False):
        super().__init__(vae, vae.encoder, in_pictures)
        self.encoder, self.quant_conv = vae.encoder, vae.quant_conv
        with torch.no_grad():
            caches: list[Any] = [None] * self.cache_places
            for frames in (1, vae.config.scale_factor_temporal):
                self.encoder(torch.zeros(1, vae.config.in_channels, frames, 8, 8), feat_cache=caches, feat_idx=[0])
        self.short_caches = tuple(n for n, cache in enumerate(caches) if cache is not None and cache.shape[2] == 1)

    def run(self, x: Tensor, caches: list, is_first: bool) -> Tensor:
        moments = self.quant_conv(self.encoder(patchify(x, self.patch), feat_cache=caches, feat_idx=[0]))
        return (moments.chunk(2, dim=1)[0] - self.latents_mean) / self.latents_std


class Decoder(VaeHalf):
    """Latents of unit variance to pixels in [-1, 1]."""

    def __init__(self, vae: AutoencoderKLWan, in_pictures: bool = False):
        super().__init__(vae, vae.decoder, in_pictures)
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder
        for module in self.decoder.modules():
            # Doubling is the same in both modes, and only this one becomes a Resize.
            if isinstance(module, WanUpsample):
                module.mode = "nearest"

    def run(self, x: Tensor, caches: list, is_first: bool) -> Tensor:
        x = self.post_quant_conv(x * self.latents_std + self.latents_mean)
        x = self.decoder(x, feat_cache=caches, feat_idx=[0], first_chunk=is_first)
        return unpatchify(x, self.patch).clamp(-1, 1)


class WholeClip(nn.Module):
    """A clip through one half, a latent frame after the other."""

    def __init__(self, half: VaeHalf, frames: int):
        super().__init__()
        self.half, self.frames = half, frames

    def forward(self, x: Tensor) -> Tensor:
        part, *states = self.half(x[:, :, :1])
        parts = [part]
        for chunk in x[:, :, 1:].split(self.frames, 2) if x.shape[2] > 1 else ():
            part, *states = self.half(chunk, *states)
            parts.append(part)
        return torch.cat(parts, 2)


def add_vae_half(bundle: BundleWriter, vae: AutoencoderKLWan, half: str) -> dict[str, Any]:
    """Writes the graphs of the first latent frame and of the others, for CUDA as one that runs through a clip, and returns what the
    manifest says of them."""
    # On WebGPU such graphs gave wrong numbers.
    module = (Encoder if half == "encoder" else Decoder)(vae, in_pictures=bundle.device == "cpu").eval()
    source, target = ("pixels", "latents") if half == "encoder" else ("latents", "pixels")
    scale = vae.config.scale_factor_spatial if half == "encoder" else 1
    channels = 3 if half == "encoder" else vae.config.z_dim
    frames = vae.config.scale_factor_temporal if half == "encoder" else 1

    def chunk(frames: int, batch: int, height: int, width: int) -> Tensor:
        generator = torch.Generator().manual_seed(frames * height + width)
        return torch.randn(batch, channels, frames, height * scale, width * scale, generator=generator)

    sizes = ((2, 4, 6), (1, 6, 4), (1, 2, 2))
    firsts = [(chunk(1, *size),) for size in sizes]
    with torch.no_grad():
        states = [module(*first)[1:] for first in firsts]
    nexts = [(chunk(frames, *size), *before) for size, before in zip(sizes, states, strict=True)]
    names = [f"state_{{}}_{n}" for n in range(len(states[0]))]
    outputs = (target, *(name.format("out") for name in names))
    # The first latent frame is neither stretched nor squeezed in time.
    without_time = frozenset(name for name, _ in module.named_parameters() if ".time_conv." in name)
    path, first_path = f"vae_{half}/model.onnx", f"vae_{half}/first.onnx"
    first = Graph(module, {source: (3, 4)}, outputs, tuple(firsts), without_time)
    inputs = {source: (3, 4)} | {name.format("in"): (3, 4) for name in names}
    following = Graph(module, inputs, outputs, tuple(nexts))
    if bundle.device == "cuda":
        clips = tuple((chunk(1 + turns * frames, *size),) for turns, size in zip((3, 1, 0), sizes, strict=True))
        bundle.add_loop(path, first, following, Graph(WholeClip(module, frames), {source: (2, 3, 4)}, (target,), clips), frames)
        return {"path": path, "whole": True, "states": []}
    bundle.add_graph(first_path, first)
    bundle.add_graph(path, following)
    height = sizes[0][1] * vae.config.scale_factor_spatial
    return {
        "path": path,
        "latentFrames": 1,
        "first": {"path": first_path, "latentFrames": 1},
        "states": [
            {"channels": state.shape[1], "frames": state.shape[2], "spatialDivisor": height // state.shape[3]} for state in states[0]
        ],
    }
