"""CogVideoX's VAE, three latent frames first and two at a time from then on: its norms go over a whole chunk.

What it must equal: models/autoencoders/autoencoder_kl_cogvideox.py of diffusers.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXSafeConv3d, CogVideoXSpatialNorm3D
from diffusers.models.downsampling import CogVideoXDownsample3D
from diffusers.models.upsampling import CogVideoXUpsample3D
from torch import Tensor, nn
from torch.nn import functional as F

from ..bundle import BundleWriter
from ..graph import Graph

FIRST_LATENT_FRAMES = 3
LATENT_FRAMES = 2
# Keys of caches that no convolution looks back for.
UNUSED_CACHES = ("conv_y", "conv_b")


class Chunk:
    """What modules have to know of the chunk that is on its way through them."""

    is_first = True


def by_frame(clip: Tensor, change: Any) -> Tensor:
    """[B,C,T,H,W], each frame changed by itself."""
    batch, _, frames, _, _ = clip.shape
    return change(clip.transpose(1, 2).flatten(0, 1)).unflatten(0, (batch, frames)).transpose(1, 2)


def repeat_frames(clip: Tensor, times: int, chunk: Chunk) -> Tensor:
    """Each frame as often as that; a clip's first one once."""
    repeated = torch.stack([clip] * times, dim=3).flatten(2, 3)
    return repeated[:, :, times - 1 :] if chunk.is_first else repeated


class Upsample(CogVideoXUpsample3D):
    chunk: Chunk

    def forward(self, inputs: Tensor) -> Tensor:
        if self.compress_time:
            inputs = repeat_frames(inputs, 2, self.chunk)
        return by_frame(inputs, lambda frames: self.conv(F.interpolate(frames, scale_factor=2.0)))


class Downsample(CogVideoXDownsample3D):
    chunk: Chunk

    def forward(self, x: Tensor) -> Tensor:
        if self.compress_time:
            if self.chunk.is_first:
                x = torch.cat([x[:, :, :1], x], dim=2)
            x = x.unflatten(2, (x.shape[2] // 2, 2)).mean(dim=3)
        return by_frame(x, lambda frames: self.conv(F.pad(frames, (0, 1, 0, 1))))


class SpatialNorm(CogVideoXSpatialNorm3D):
    chunk: Chunk
    # By how much the latents are smaller here, in time and in space.
    scale: tuple[int, int]

    def forward(self, f: Tensor, zq: Tensor, conv_cache: dict[str, Tensor] | None = None) -> tuple[Tensor, dict]:
        in_time, in_space = self.scale
        zq = repeat_frames(zq, in_time, self.chunk)
        zq = by_frame(zq, lambda frames: F.interpolate(frames, scale_factor=float(in_space)))
        return self.norm_layer(f) * self.conv_y.conv(zq) + self.conv_b.conv(zq), {}


def prepare(network: nn.Module) -> Chunk:
    """Gives the modules forwards that hold for any number of frames, and returns what tells them of the chunk."""
    chunk = Chunk()
    replacements = {CogVideoXUpsample3D: Upsample, CogVideoXDownsample3D: Downsample, CogVideoXSpatialNorm3D: SpatialNorm}
    for module in network.modules():
        if type(module) in replacements:
            module.__class__ = replacements[type(module)]
            module.chunk = chunk
        elif isinstance(module, CogVideoXSafeConv3d):
            # Which is the same, in parts.
            module.__class__ = nn.Conv3d
    return chunk


def set_scales(decoder: nn.Module) -> None:
    """Tells each norm of the decoder how much larger its input is than the latents."""
    in_time = in_space = 1

    def visit(module: nn.Module) -> None:
        nonlocal in_time, in_space
        for norm in (one for one in module.modules() if isinstance(one, SpatialNorm)):
            norm.scale = in_time, in_space

    visit(decoder.mid_block)
    for block in decoder.up_blocks:
        visit(block.resnets)
        for upsampler in block.upsamplers or ():
            in_time, in_space = in_time * (1 + upsampler.compress_time), in_space * 2
    decoder.norm_out.scale = in_time, in_space


def flatten(cache: Any, key: str = "") -> list[Tensor]:
    if isinstance(cache, dict):
        return [leaf for name, inner in cache.items() for leaf in flatten(inner, name)]
    return [] if cache is None or key in UNUSED_CACHES else [cache]


def refill(cache: Any, states: Any, key: str = "") -> Any:
    """The same nest of caches, with the next of `states` in each place."""
    if isinstance(cache, dict):
        return {name: refill(inner, states, name) for name, inner in cache.items()}
    return None if cache is None or key in UNUSED_CACHES else next(states)


class VaeHalf(nn.Module):
    """One half of the VAE. Its states are the caches of the official code."""

    def __init__(self, vae: AutoencoderKLCogVideoX, network: nn.Module):
        super().__init__()
        self.chunk = prepare(network)
        self.scaling = vae.config.scaling_factor
        self.nest: Any = None

    def run(self, x: Tensor, cache: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        self.chunk.is_first = not states
        results, cache = self.run(x, refill(self.nest, iter(states)) if states else None)
        return *results, *flatten(cache)


class Encoder(VaeHalf):
    """Pixels to the mean and the deviation of the posterior, scaled to unit variance."""

    def __init__(self, vae: AutoencoderKLCogVideoX):
        super().__init__(vae, vae.encoder)
        self.encoder, self.quant_conv = vae.encoder, vae.quant_conv

    def run(self, x: Tensor, cache: Any) -> tuple[Any, Any]:
        moments, cache = self.encoder(x, conv_cache=cache)
        mean, log_variance = (moments if self.quant_conv is None else self.quant_conv(moments)).chunk(2, dim=1)
        return (mean * self.scaling, torch.exp(0.5 * log_variance.clamp(-30, 20)) * self.scaling), cache


class Decoder(VaeHalf):
    """Latents of unit variance to pixels in [-1, 1]."""

    def __init__(self, vae: AutoencoderKLCogVideoX):
        super().__init__(vae, vae.decoder)
        self.decoder, self.post_quant_conv = vae.decoder, vae.post_quant_conv
        set_scales(self.decoder)

    def run(self, x: Tensor, cache: Any) -> tuple[Any, Any]:
        x = x / self.scaling
        pixels, cache = self.decoder(x if self.post_quant_conv is None else self.post_quant_conv(x), conv_cache=cache)
        return (pixels,), cache


def add_vae_half(bundle: BundleWriter, vae: AutoencoderKLCogVideoX, half: str) -> dict[str, Any]:
    """Writes the graphs of a clip's first chunk and of the others, and returns what the manifest says of them."""
    is_encoder = half == "encoder"
    module = (Encoder if is_encoder else Decoder)(vae).eval()
    source = "pixels" if is_encoder else "latents"
    results = ("latents", "latents_std") if is_encoder else ("pixels",)
    spatial = 2 ** (len(vae.config.block_out_channels) - 1)
    scale = spatial if is_encoder else 1
    channels = vae.config.in_channels if is_encoder else vae.config.latent_channels

    def chunk(frames: int, batch: int, height: int, width: int) -> Tensor:
        generator = torch.Generator().manual_seed(frames * height + width)
        return torch.randn(batch, channels, frames, height * scale, width * scale, generator=generator)

    temporal = int(vae.config.temporal_compression_ratio) if is_encoder else 1
    first_frames = (FIRST_LATENT_FRAMES - 1) * temporal + 1
    sizes = ((2, 4, 6), (1, 6, 4), (1, 2, 2))
    firsts = [(chunk(frames, *size),) for frames, size in zip((first_frames, 1, first_frames), sizes, strict=True)]
    with torch.no_grad():
        _, nest = module.run(firsts[0][0], None)
        states = [module(*first)[len(results) :] for first in firsts]
    nexts = [(chunk(LATENT_FRAMES * temporal, *size), *before) for size, before in zip(sizes, states, strict=True)]
    module.nest = names_of(nest)
    names = [f"state_{{}}_{n}" for n in range(len(states[0]))]
    outputs = (*results, *(name.format("out") for name in names))
    path, first_path = f"vae_{half}/model.onnx", f"vae_{half}/first.onnx"
    # Tracing would find out by itself what sizes are multiples of, but not in reasonable time.
    rows, columns = (torch.export.Dim(name) for name in ("rows", "columns"))

    def multiples(tensor: Tensor) -> dict[int, Any]:
        times = tensor.shape[3] // sizes[0][1]
        return {3: times * rows, 4: times * columns} if times > 1 else {3: rows, 4: columns}

    frames = temporal * torch.export.Dim("frames") + 1 if temporal > 1 else torch.export.Dim("frames")
    bundle.add_graph(first_path, Graph(module, {source: {2: frames, **multiples(firsts[0][0])}}, outputs, tuple(firsts)))
    inputs = {source: multiples(firsts[0][0])} | {name.format("in"): multiples(state) for name, state in zip(names, states[0], strict=True)}
    bundle.add_graph(path, Graph(module, inputs, outputs, tuple(nexts)))
    height = sizes[0][1] * spatial
    return {
        "path": path,
        "latentFrames": LATENT_FRAMES,
        "first": {"path": first_path, "latentFrames": FIRST_LATENT_FRAMES},
        "states": [
            {"channels": state.shape[1], "frames": state.shape[2], "spatialDivisor": height // state.shape[3]} for state in states[0]
        ],
    }


def names_of(cache: Any) -> Any:
    """The nest without its tensors."""
    if isinstance(cache, dict):
        return {name: names_of(inner) for name, inner in cache.items()}
    return None if cache is None else True
