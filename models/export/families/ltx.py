"""LTX-Video (arXiv 2501.00103): T5, a transformer over packed latents, and a VAE of 8x32x32 that works on whole clips.

What the graphs must equal: pipelines/ltx/pipeline_ltx.py, models/transformers/transformer_ltx.py and
models/autoencoders/autoencoder_kl_ltx.py of diffusers.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel
from torch import Tensor, nn
from transformers import T5EncoderModel

from ..bundle import BundleWriter
from ..errors import ExportError
from ..graph import Graph
from ..pipeline_folder import PipelineFolder
from ..t5 import unmasked_text_encoder_graph
from ..tokenizer import add_tokenizer

COMPONENTS = ("tokenizer", "text_encoder", "transformer", "vae", "scheduler")
MAX_TOKENS = 128
# What model cards ask for where the VAE finishes the denoising (0.9.1 and later).
DECODE_TIMESTEP = 0.05
DECODE_NOISE = 0.025


def export_text_to_video(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    folder.require(COMPONENTS)
    # Each network is let go of before the next one is read.
    add_tokenizer(bundle, folder)
    bundle.add_graph("text_encoder/model.onnx", unmasked_text_encoder_graph(folder.load("text_encoder", T5EncoderModel)))
    transformer = folder.load("transformer", LTXVideoTransformer3DModel)
    channels = transformer.config.in_channels
    if transformer.config.patch_size != 1 or transformer.config.patch_size_t != 1:
        raise ExportError(f"Expected the transformer of {folder.path} to take single latent positions, not patches.")
    vae = folder.load("vae", AutoencoderKLLTXVideo)
    if vae.config.latent_channels != channels:
        raise ExportError(f"Expected the VAE of {folder.path} to have {channels} channels, as the transformer has.")
    scale = vae.temporal_compression_ratio, vae.spatial_compression_ratio
    graph = denoiser_graph(transformer, *scale)
    bundle.add_graph("transformer/model.onnx", graph)
    inputs = [name for name in graph.inputs if name not in ("latents", "timestep")]
    del transformer, graph
    bundle.add_graph("vae_encoder/model.onnx", encoder_graph(vae))
    bundle.add_graph("vae_decoder/model.onnx", decoder_graph(vae))
    return {
        "summary": "LTX-Video: clips from a prompt or a first picture.",
        "tasks": ["text", "first-frame"],
        "latent": {
            "channels": channels,
            "temporalCompression": scale[0],
            "spatialCompression": scale[1],
            "sizeMultiple": scale[1],
        },
        "defaults": {
            "width": 704, "height": 512, "numFrames": 161, "frameRate": 25, "steps": 50, "guidanceScale": 3,
            "negativePrompt": "", "strength": 0.8, "sigmas": "linear",
        },
        "window": {"latentFrames": 21, "overlap": 5},
        "graphs": {
            "textEncoder": {"path": "text_encoder/model.onnx", "maxTokens": MAX_TOKENS, "padding": "max"},
            "denoiser": {"path": "transformer/model.onnx", "inputs": inputs, "conditionMask": ["keep"]},
            "vaeEncoder": {"path": "vae_encoder/model.onnx", "whole": True, "states": []},
            "vaeDecoder": {"path": "vae_decoder/model.onnx", "whole": True, "states": []},
        },
    }  # fmt: skip


def denoiser_graph(model: LTXVideoTransformer3DModel, temporal: int, spatial: int) -> Graph:
    """Known positions are clean and at timestep 0, as in pipelines/ltx/pipeline_ltx_image2video.py."""

    class Denoiser(type(model)):
        """The velocity at each latent position."""

        def forward(
            self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor, prompt_mask: Tensor, frame_rate: Tensor,
            condition_latents: Tensor, condition_mask: Tensor,
        ) -> Tensor:  # fmt: skip
            _, _, frames, height, width = latents.shape
            latents = torch.where(condition_mask > 0.5, condition_latents, latents)
            packed = latents.flatten(2).transpose(1, 2)
            levels = timestep[:, None] * (1 - condition_mask[:, 0].flatten(1))
            # Tells the tracing that the batches are one.
            prompt_mask = prompt_mask.expand(latents.shape[0], -1)
            velocity = super().forward(
                packed, prompt_embeds, levels, prompt_mask, return_dict=False,
                video_coords=positions(latents, frame_rate, temporal, spatial),
            )[0]  # fmt: skip
            return velocity.transpose(1, 2).unflatten(2, (frames, height, width))

    model.__class__ = Denoiser
    config = model.config

    def example(batch: int, frames: int, height: int, width: int, tokens: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(frames * height + width)
        shape = (batch, config.in_channels, frames, height, width)
        kept = (torch.rand(batch, 1, frames, height, width, generator=generator) > 0.6).float()
        mask = torch.ones(batch, tokens)
        mask[0, tokens // 2 :] = 0
        return (
            torch.randn(shape, generator=generator),
            torch.linspace(900, 100, batch),
            torch.randn(batch, tokens, config.caption_channels, generator=generator),
            mask,
            torch.linspace(25, 8, batch),
            torch.randn(shape, generator=generator),
            kept,
        )

    volume = (2, 3, 4)
    free = {
        "latents": volume, "timestep": (), "prompt_embeds": (1,), "prompt_mask": (1,), "frame_rate": (),
        "condition_latents": volume, "condition_mask": volume,
    }  # fmt: skip
    return Graph(model, free, ("prediction",), (example(2, 3, 4, 5, 7), example(1, 1, 6, 4, 12), example(1, 5, 2, 3, 4)))


def positions(latents: Tensor, frame_rate: Tensor, temporal: int, spatial: int) -> Tensor:
    """Seconds and pixels [B,3,S] of each latent position."""
    batch, _, frames, height, width = latents.shape
    shape = (batch, frames, height, width)
    seconds = torch.arange(frames).view(1, -1, 1, 1) * temporal / frame_rate.view(-1, 1, 1, 1)
    rows = (torch.arange(height) * float(spatial)).view(1, 1, -1, 1)
    columns = (torch.arange(width) * float(spatial)).view(1, 1, 1, -1)
    return torch.stack([axis.expand(shape).flatten(1) for axis in (seconds, rows, columns)], dim=1)


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
    return Graph(Encoder(vae).eval(), {"pixels": (2, 3, 4)}, ("latents", "latents_std"), examples)


def decoder_graph(vae: AutoencoderKLLTXVideo) -> Graph:
    if any(vae.config.decoder_inject_noise):
        raise ExportError("Expected the decoder to inject no noise of its own.")
    takes_noise = vae.config.timestep_conditioning
    names = ("latents", "noise") if takes_noise else ("latents",)
    sizes = ((2, 3, 2, 3), (1, 1, 3, 2), (1, 4, 1, 2))
    examples = tuple(tuple(clip(vae.config.latent_channels, *size) + n for n in range(len(names))) for size in sizes)
    module = (FinishingDecoder if takes_noise else Decoder)(vae).eval()
    return Graph(module, dict.fromkeys(names, (2, 3, 4)), ("pixels",), examples)
