"""LTX-Video (arXiv 2501.00103): T5, a transformer over packed latents, and a VAE of 8x32x32 that works on whole clips.

What the graphs must equal: pipelines/ltx/pipeline_ltx.py and pipeline_ltx_condition.py, models/transformers/transformer_ltx.py and
models/autoencoders/autoencoder_kl_ltx.py of diffusers.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel
from torch import Tensor
from transformers import T5EncoderModel

from ..bundle import BundleWriter
from ..errors import ExportError
from ..graph import Graph
from ..pipeline_folder import PipelineFolder
from ..t5 import text_encoder_graph
from ..tokenizer import add_tokenizer
from .ltx_vae import clip, decoder_graph, encoder_graph

COMPONENTS = ("tokenizer", "text_encoder", "transformer", "vae", "scheduler")
# What diffusers' calls put on pictures that are given, by default.
PICTURE_NOISE = 0.15


def export_text_to_video(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    return {
        **export(folder, bundle, holds_pictures=False),
        "summary": "LTX-Video: clips from a prompt or a first picture.",
        "tasks": ["text", "first-frame"],
    }


def export_conditioned(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    """Of the pipelines that take pictures for any frame."""
    levels = json.loads((folder.path / "scheduler" / "scheduler_config.json").read_text())
    if levels.get("use_dynamic_shifting") or levels.get("shift_terminal") or levels.get("shift", 1) != 1:
        # diffusers would give the network levels that it then doesn't step by.
        raise ExportError(f"Expected the scheduler of {folder.path} to shift no levels. Export it as an LTXPipeline.")
    described = export(folder, bundle, holds_pictures=True)
    described["defaults"]["sigmas"] = "linear-quadratic"
    described["graphs"]["denoiser"] |= {"knownFrames": "held", "knownNoise": PICTURE_NOISE}
    return {
        **described,
        "summary": "LTX-Video: clips from a prompt, from pictures for some of their frames, or from a clip.",
        "tasks": ["text", "first-frame", "last-frame", "keyframes", "restyle"],
    }


def export(folder: PipelineFolder, bundle: BundleWriter, holds_pictures: bool) -> dict[str, Any]:
    folder.require(COMPONENTS)
    # Each network is let go of before the next one is read.
    add_tokenizer(bundle, folder)
    text_encoder = folder.load("text_encoder", T5EncoderModel)
    bundle.add_graph("text_encoder/model.onnx", text_encoder_graph(text_encoder, sees_padding=not holds_pictures))
    del text_encoder
    transformer = folder.load("transformer", LTXVideoTransformer3DModel)
    channels = transformer.config.in_channels
    if transformer.config.patch_size != 1 or transformer.config.patch_size_t != 1:
        raise ExportError(f"Expected the transformer of {folder.path} to take single latent positions, not patches.")
    vae = folder.load("vae", AutoencoderKLLTXVideo)
    if vae.config.latent_channels != channels:
        raise ExportError(f"Expected the VAE of {folder.path} to have {channels} channels, as the transformer has.")
    scale = vae.temporal_compression_ratio, vae.spatial_compression_ratio
    graph = (holding_graph if holds_pictures else denoiser_graph)(transformer, *scale)
    bundle.add_graph("transformer/model.onnx", graph)
    inputs = [name for name in graph.inputs if name not in ("latents", "timestep")]
    del transformer, graph
    bundle.add_graph("vae_encoder/model.onnx", encoder_graph(vae))
    bundle.add_graph("vae_decoder/model.onnx", decoder_graph(vae))
    return {
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
            "textEncoder": {"path": "text_encoder/model.onnx", "maxTokens": 256 if holds_pictures else 128, "padding": "max"},
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
            starts = torch.arange(frames)[None] * temporal
            velocity = super().forward(
                packed, prompt_embeds, levels, prompt_mask, return_dict=False,
                video_coords=positions(latents, starts, frame_rate, spatial),
            )[0]  # fmt: skip
            return velocity.transpose(1, 2).unflatten(2, (frames, height, width))

    model.__class__ = Denoiser

    def example(*size: int) -> tuple[Tensor, ...]:
        latents, *others = clip_example(model, *size)
        return latents, *others, latents.flip(1), (latents[:, :1] > 0.3).float()

    volume = (2, 3, 4)
    free = CLIP_AXES | {"condition_latents": volume, "condition_mask": volume}
    return Graph(model, free, ("prediction",), (example(2, 3, 4, 5, 7), example(1, 1, 6, 4, 12), example(1, 5, 2, 3, 4)))


def holding_graph(model: LTXVideoTransformer3DModel, _temporal: int, spatial: int) -> Graph:
    """Positions are at no more noise than what they are held at leaves, and frames where they are said to be, as in
    pipelines/ltx/pipeline_ltx_condition.py."""

    class Denoiser(type(model)):
        """The velocity at each latent position."""

        def forward(
            self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor, prompt_mask: Tensor, frame_rate: Tensor,
            condition_mask: Tensor, frame_starts: Tensor,
        ) -> Tensor:  # fmt: skip
            packed = latents.flatten(2).transpose(1, 2)
            levels = torch.minimum(timestep[:, None], (1 - condition_mask[:, 0].flatten(1)) * 1000)
            velocity = super().forward(
                packed, prompt_embeds, levels, prompt_mask.expand(latents.shape[0], -1), return_dict=False,
                video_coords=positions(latents, frame_starts, frame_rate, spatial),
            )[0]  # fmt: skip
            return velocity.transpose(1, 2).unflatten(2, latents.shape[2:])

    model.__class__ = Denoiser

    def example(*size: int) -> tuple[Tensor, ...]:
        latents, *others = clip_example(model, *size)
        batch, _, frames, _, _ = latents.shape
        starts = 9.0 * torch.arange(frames) + 4 * torch.arange(batch)[:, None]
        # Some are held fast, some not at all, some in between.
        return latents, *others, latents[:, :1].clamp(0, 1), starts

    free = CLIP_AXES | {"condition_mask": (2, 3, 4), "frame_starts": (1,)}
    return Graph(model, free, ("prediction",), (example(2, 3, 4, 5, 7), example(1, 1, 6, 4, 12), example(1, 5, 2, 3, 4)))


# What both denoisers are given, in order, and its free axes.
CLIP_AXES: dict[str, tuple[int, ...]] = {
    "latents": (2, 3, 4), "timestep": (), "prompt_embeds": (1,), "prompt_mask": (1,), "frame_rate": (),
}  # fmt: skip


def clip_example(model: LTXVideoTransformer3DModel, batch: int, frames: int, height: int, width: int, tokens: int) -> tuple[Tensor, ...]:
    mask = torch.ones(batch, tokens)
    mask[0, tokens // 2 :] = 0
    return (
        clip(model.config.in_channels, batch, frames, height, width),
        torch.linspace(900, 100, batch),
        torch.randn(batch, tokens, model.config.caption_channels, generator=torch.Generator().manual_seed(tokens)),
        mask,
        torch.linspace(25, 8, batch),
    )


def positions(latents: Tensor, starts: Tensor, frame_rate: Tensor, spatial: int) -> Tensor:
    """Seconds and pixels [B,3,S] of each latent position; `starts` [B,t] are the pixel frames that latent frames start at."""
    batch, _, frames, height, width = latents.shape
    shape = (batch, frames, height, width)
    seconds = (starts / frame_rate[:, None]).view(batch, -1, 1, 1)
    rows = (torch.arange(height) * float(spatial)).view(1, 1, -1, 1)
    columns = (torch.arange(width) * float(spatial)).view(1, 1, 1, -1)
    return torch.stack([axis.expand(shape).flatten(1) for axis in (seconds, rows, columns)], dim=1)
