"""LTX-Video's VAE of 8x32x32, which works on whole clips.

What it must equal: models/autoencoders/autoencoder_kl_ltx.py of diffusers.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLLTXVideo
from torch import Tensor, nn

from ..errors import ExportError
from ..graph import Graph

# What model cards ask for where the VAE finishes the denoising (0.9.1 and later).
DECODE_TIMESTEP = 0.05
DECODE_NOISE = 0.025


class Encoder(nn.Module):
    """Pixels to the mean and the deviation of the posterior, scaled to unit variance."""

    def __init__(self, vae: AutoencoderKLLTXVideo):
        super().__init__()
        self.encoder = vae.encoder
        self.latents_mean, self.scale = statistics(vae)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(pixels).chunk(2, dim=1)
        return (mean - self.latents_mean) * self.scale, torch.exp(0.5 * log_variance.clamp(-30, 20)) * self.scale


class Decoder(nn.Module):
    """Latents of unit variance to pixels in [-1, 1]."""

    def __init__(self, vae: AutoencoderKLLTXVideo):
        super().__init__()
        self.decoder = vae.decoder
        self.latents_mean, self.scale = statistics(vae)

    def forward(self, latents: Tensor) -> Tensor:
        return self.decoder(latents / self.scale + self.latents_mean)


class FinishingDecoder(Decoder):
    """The same for a VAE that takes away a last bit of noise."""

    def forward(self, latents: Tensor, noise: Tensor) -> Tensor:
        noised = (1 - DECODE_NOISE) * (latents / self.scale + self.latents_mean) + DECODE_NOISE * noise
        return self.decoder(noised, torch.full_like(latents[:, 0, 0, 0, 0], DECODE_TIMESTEP))


def statistics(vae: AutoencoderKLLTXVideo) -> tuple[Tensor, Tensor]:
    """The mean of the VAE's own latents, and what they are multiplied by after it is taken off, each [1,C,1,1,1]."""
    shape = (1, -1, 1, 1, 1)
    return vae.latents_mean.view(shape), vae.config.scaling_factor / vae.latents_std.view(shape)


def clip(channels: int, batch: int, frames: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(frames * height + width)
    return torch.randn(batch, channels, frames, height, width, generator=generator)


def encoder_graph(vae: AutoencoderKLLTXVideo) -> Graph:
    temporal, spatial = vae.temporal_compression_ratio, vae.spatial_compression_ratio

    def pixels(batch: int, latent_frames: int, height: int, width: int) -> tuple[Tensor]:
        return (clip(3, batch, (latent_frames - 1) * temporal + 1, height * spatial, width * spatial),)

    examples = (pixels(2, 3, 2, 3), pixels(1, 1, 3, 2), pixels(1, 2, 1, 2))
    frames, rows, columns = (torch.export.Dim(name) for name in ("frames", "rows", "columns"))
    # Tracing would find out by itself what sizes are multiples of, but not in reasonable time.
    sizes = {2: temporal * frames + 1, 3: spatial * rows, 4: spatial * columns}
    return Graph(Encoder(vae).eval(), {"pixels": sizes}, ("latents", "latents_std"), examples)


def decoder_graph(vae: AutoencoderKLLTXVideo) -> Graph:
    if any(vae.config.decoder_inject_noise):
        raise ExportError("Expected the decoder to inject no noise of its own.")
    takes_noise = vae.config.timestep_conditioning
    names = ("latents", "noise") if takes_noise else ("latents",)
    sizes = ((2, 3, 2, 3), (1, 1, 3, 2), (1, 4, 1, 2))
    examples = tuple(tuple(clip(vae.config.latent_channels, *size) + n for n in range(len(names))) for size in sizes)
    module = (FinishingDecoder if takes_noise else Decoder)(vae).eval()
    return Graph(module, dict.fromkeys(names, (2, 3, 4)), ("pixels",), examples)
