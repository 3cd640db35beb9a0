"""AnimateDiff (arXiv 2307.04725): Stable Diffusion 1.5 whose UNet looks along time too; its VAE codes each frame by itself.

What the graphs must equal: pipelines/animatediff of diffusers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from torch import Tensor
from transformers import CLIPTextModel

from ..bundle import BundleWriter
from ..errors import ExportError
from ..graph import Graph
from ..pipeline_folder import PipelineFolder
from ..repeats import repeat_rows
from ..tokenizer import add_tokenizer
from .control_net import add_control_nets, describe_residuals, residual_examples, residual_names
from .stable_diffusion import COMPONENTS, FRAME_RATE, TEXT_NAMES, add_vae, text_encoder_graph

# Frames that motion modules are trained on, and how many neighbouring windows share of a longer clip.
WINDOW = 16
OVERLAP = 4


def export(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    folder.require((*COMPONENTS, "motion_adapter"))
    # Each network is let go of before the next one is read.
    add_tokenizer(bundle, folder)
    text_encoder = folder.load("text_encoder", CLIPTextModel)
    max_tokens = text_encoder.config.max_position_embeddings
    bundle.add_graph("text_encoder/model.onnx", text_encoder_graph(text_encoder))
    del text_encoder
    vae = folder.load("vae", AutoencoderKL)
    vae_channels = vae.config.latent_channels
    scale, halves = add_vae(bundle, vae)
    del vae
    unet = folder.load("unet", (UNet2DConditionModel, UNetMotionModel))
    if isinstance(unet, UNet2DConditionModel):
        unet = UNetMotionModel.from_unet2d(unet, folder.load("motion_adapter", MotionAdapter)).eval().requires_grad_(False)
    channels, longest, side = unet.config.in_channels, unet.config.motion_max_seq_length, unet.config.sample_size or 64
    if unet.config.out_channels != channels or longest < WINDOW:
        raise ExportError(f"Expected the UNet of {folder.path} to take latents and text alone, {WINDOW} frames at least at a time.")
    with exportable_repeats():
        bundle.add_graph("unet/model.onnx", denoiser_graph(unet, takes_residuals=bool(folder.control_nets)))
    config = unet.config
    del unet
    nets = add_control_nets(bundle, folder.control_nets, config, scale)
    denoiser = {"path": "unet/model.onnx", "inputs": ["prompt_embeds"], **({"residuals": describe_residuals(config)} if nets else {})}
    if vae_channels != channels:
        raise ExportError(f"Expected the VAE of {folder.path} to have {channels} channels, got {vae_channels}.")
    return {
        "summary": "AnimateDiff: clips from a prompt.",
        "tasks": ["text", "restyle", *(["control"] if nets else [])],
        "latent": {"channels": channels, "temporalCompression": 1, "spatialCompression": scale, "sizeMultiple": scale},
        "defaults": {
            "width": side * scale, "height": side * scale, "numFrames": WINDOW, "frameRate": FRAME_RATE, "steps": 50,
            "guidanceScale": 7.5, "negativePrompt": "", "strength": 0.8,
        },
        "window": {"latentFrames": WINDOW, "overlap": OVERLAP},
        "graphs": {
            "textEncoder": {"path": "text_encoder/model.onnx", "maxTokens": max_tokens, "padding": "max", "otherNames": TEXT_NAMES},
            "denoiser": denoiser,
            **({"controlNets": nets} if nets else {}),
            **halves,
        },
    }  # fmt: skip


def denoiser_graph(model: UNetMotionModel, takes_residuals: bool = False) -> Graph:
    config = model.config

    class Denoiser(type(model)):
        """The prediction as one tensor, from one prompt for all frames."""

        def forward(self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor, *residuals: Tensor) -> Tensor:
            *down, middle = residuals or (None,)
            torch._check(timestep.shape[0] == latents.shape[0])
            torch._check(prompt_embeds.shape[0] == latents.shape[0])
            embeds = repeat_rows(prompt_embeds, latents.shape[2], dim=0)
            return super().forward(
                latents, timestep, embeds, down_block_additional_residuals=down or None, mid_block_additional_residual=middle, return_dict=False
            )[0]

    model.__class__ = Denoiser

    def example(batch: int, frames: int, height: int, width: int, tokens: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(frames * height + width)
        return (
            torch.randn(batch, config.in_channels, frames, height, width, generator=generator),
            torch.linspace(900, 100, batch),
            torch.randn(batch, tokens, config.cross_attention_dim, generator=generator),
            *(residual_examples(config, batch * frames, height, width, generator) if takes_residuals else []),
        )

    free = {"latents": (2, 3, 4), "timestep": (), "prompt_embeds": (1,)}
    if takes_residuals:
        free |= dict.fromkeys(residual_names(config), (2, 3))
    # Traced at a size that does not halve evenly all the way down: its graph then joins levels of any size. No two lengths
    # are the same, as the tracer would take them for one.
    odd = 2 ** len(config.block_out_channels) + 1
    return Graph(model, free, ("prediction",), (example(2, 3, odd, odd + 2, 11), example(1, 16, 8, 4, 77), example(1, 1, 6, 8, 3)))


@contextmanager
def exportable_repeats() -> Iterator[None]:
    official = Tensor.repeat_interleave
    Tensor.repeat_interleave = repeat_rows
    try:
        yield
    finally:
        Tensor.repeat_interleave = official
