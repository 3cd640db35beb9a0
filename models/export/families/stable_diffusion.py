"""Stable Diffusion 1 and 2 (arXiv 2112.10752): a CLIP text encoder, a UNet over one picture's latents, and a VAE for pictures.

What the graphs must equal: pipelines/stable_diffusion of diffusers. A picture is a clip of one frame here, so that latents and
pixels have a time axis of length 1.
"""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel

from ..bundle import BundleWriter
from ..errors import ExportError
from ..graph import Graph
from ..pipeline_folder import PipelineFolder
from ..tokenizer import add_tokenizer
from .control_net import add_control_nets, describe_residuals, residual_examples, residual_names

COMPONENTS = ("tokenizer", "text_encoder", "unet", "vae", "scheduler")
FRAME_RATE = 8
# Maps as large as a VAE's widest that it holds at once: 4.2 measured at 512x512 with a quarter of Stable Diffusion's channels, 5.4 at 384x384.
LIVE_MAPS = 5
# The model cards of the Turbo models say 1 to 4; at the default strength, 1 would leave no step for a picture to start from.
TURBO = {"steps": 4, "guidanceScale": 0}
# LoRA files are older than the version of transformers that took one module away.
TEXT_NAMES = {"text_model.encoder": "encoder", "text_model.embeddings": "embeddings", "text_model.final_layer_norm": "final_layer_norm"}


def export(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    """Pictures from a prompt, or with a UNet that is shown the picture around the mask, pictures with a part made anew."""
    folder.require(COMPONENTS)
    # Each network is let go of before the next one is read.
    add_tokenizer(bundle, folder)
    text_encoder = folder.load("text_encoder", CLIPTextModel)
    max_tokens = text_encoder.config.max_position_embeddings
    bundle.add_graph("text_encoder/model.onnx", text_encoder_graph(text_encoder))
    del text_encoder
    described = add_pictures(folder, bundle)
    described["graphs"]["textEncoder"] = {
        "path": "text_encoder/model.onnx", "maxTokens": max_tokens, "padding": "max", "otherNames": TEXT_NAMES,
    }  # fmt: skip
    return described


def export_distilled(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    """Pictures in a few steps, by a UNet that is told how strongly the prompt is to be followed."""
    described = export(folder, bundle)
    described["summary"] = "Latent consistency model: pictures from a prompt in a few steps."
    described["defaults"] |= {"steps": 4, "guidanceScale": 8.5}
    return described


def add_pictures(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    """Writes VAE and UNet, and returns what the manifest says of all but the text encoder."""
    vae = folder.load("vae", AutoencoderKL)
    vae_channels = vae.config.latent_channels
    scale, halves = add_vae(bundle, vae)
    del vae
    unet = folder.load("unet", UNet2DConditionModel)
    config = unet.config
    channels = config.out_channels
    sees_picture = config.in_channels == 2 * channels + 1
    if config.in_channels != channels and not sees_picture:
        raise ExportError(
            f"Expected the UNet of {folder.path} to take {channels} channels of latents, or with a mask and the latents of a masked "
            f"picture {2 * channels + 1}, got {config.in_channels}."
        )
    if config.addition_embed_type not in (None, "text_time") or config.class_embed_type is not None:
        raise ExportError(f"Expected the UNet of {folder.path} to take text and a picture's size at most.")
    if vae_channels != channels:
        raise ExportError(f"Expected the VAE of {folder.path} to have {channels} channels, got {vae_channels}.")
    graph = denoiser_graph(unet, scale, takes_residuals=bool(folder.control_nets))
    inputs = [name for name in graph.inputs if name not in ("latents", "timestep") and not name.startswith("residual_")]
    bundle.add_graph("unet/model.onnx", graph)
    del unet, graph
    denoiser: dict[str, Any] = {"path": "unet/model.onnx", "inputs": inputs}
    nets = add_control_nets(bundle, folder.control_nets, config, scale)
    if nets:
        denoiser["residuals"] = describe_residuals(config)
    if sees_picture:
        denoiser |= {"conditionMask": ["keep"], "conditionFrom": "pixels", "knownFrames": "told"}
    side = config.sample_size * scale
    turbo = TURBO if is_turbo(folder) else {}
    return {
        "summary": "Stable Diffusion: a part of a picture made anew by a prompt." if sees_picture
        else "Stable Diffusion: pictures from a prompt.",
        "tasks": [*(["inpaint"] if sees_picture else ["text", "restyle", "inpaint"]), *(["control"] if nets else [])],
        "latent": {"channels": channels, "temporalCompression": 1, "spatialCompression": scale, "sizeMultiple": scale},
        "defaults": {
            "width": side, "height": side, "numFrames": 1, "frameRate": FRAME_RATE, "steps": 50, "guidanceScale": 7.5,
            "negativePrompt": "", "strength": 0.8, **turbo,
        },
        "window": {"latentFrames": 1, "overlap": 0},
        "graphs": {
            "denoiser": denoiser,
            **({"controlNets": nets} if nets else {}),
            **halves,
        },
    }  # fmt: skip


def is_turbo(folder: PipelineFolder) -> bool:
    """Whether the folder's name, or that of the one it comes from, says that its model makes pictures in a few steps unguided
    (arXiv 2311.17042)."""
    names = (folder.path.resolve().name, str(folder.index.get("_name_or_path", "")))
    return any(re.search(r"\bturbo\b", name.replace("_", "-"), re.IGNORECASE) for name in names)


def text_encoder_graph(model: CLIPTextModel) -> Graph:
    class TextEncoder(type(model)):
        """The last layer's embeddings; padding is read as text, unless the model was trained otherwise."""

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            mask = attention_mask if getattr(self.config, "use_attention_mask", False) else None
            return super().forward(input_ids, attention_mask=mask).last_hidden_state

    # A module around it would put a prefix before every parameter's name.
    model.__class__ = TextEncoder
    return Graph(model, {"input_ids": (1,), "attention_mask": (1,)}, ("prompt_embeds",), token_examples(model))


def token_examples(model: CLIPTextModel) -> tuple[tuple[Tensor, ...], ...]:
    longest = model.config.max_position_embeddings

    def example(batch: int, tokens: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(tokens)
        ids = torch.randint(0, model.config.vocab_size, (batch, tokens), generator=generator)
        return ids, torch.ones_like(ids)

    return example(2, longest), example(1, longest), example(3, longest // 2)


def denoiser_graph(model: UNet2DConditionModel, scale: int, takes_residuals: bool = False) -> Graph:
    """`scale` is how many pixels a latent position stands for; `takes_residuals`: of ControlNets."""
    config = model.config
    channels = config.out_channels
    shown = ["condition_latents", "condition_mask"] if config.in_channels != channels else []
    added = ["pooled_embeds"] if config.addition_embed_type == "text_time" else []
    names = [*added, *(["guidance"] if config.time_cond_proj_dim else []), *shown]

    class Denoiser(type(model)):
        """The prediction for one picture. `condition_mask` is 1 where the picture is kept."""

        def forward(self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor, *others: Tensor) -> Tensor:
            given = dict(zip(names, others[: len(names)], strict=True))
            *down, middle = others[len(names) :] or (None,)
            sample = latents
            if shown:
                sample = torch.cat([latents, 1 - given["condition_mask"], given["condition_latents"]], dim=1)
            guidance = embed_guidance(given["guidance"], config.time_cond_proj_dim) if "guidance" in given else None
            size = {"text_embeds": given["pooled_embeds"], "time_ids": picture_size(latents, scale)} if added else None
            prediction = super().forward(
                sample.squeeze(2), timestep, prompt_embeds, timestep_cond=guidance, added_cond_kwargs=size,
                down_block_additional_residuals=down or None, mid_block_additional_residual=middle, return_dict=False,
            )  # fmt: skip
            return prediction[0].unsqueeze(2)

    model.__class__ = Denoiser

    def example(batch: int, height: int, width: int, tokens: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(height * width)
        shape = (batch, channels, 1, height, width)
        residuals = residual_examples(config, batch, height, width, generator) if takes_residuals else []
        given = {
            "pooled_embeds": torch.randn(batch, pooled_width(model), generator=generator) if added else None,
            "guidance": torch.linspace(2, 8, batch),
            "condition_latents": torch.randn(shape, generator=generator),
            "condition_mask": (torch.randn(batch, 1, *shape[2:], generator=generator) > 0).float(),
        }
        embeds = torch.randn(batch, tokens, config.cross_attention_dim, generator=generator)
        chosen = (given[name] for name in names)
        return (torch.randn(shape, generator=generator), torch.linspace(900, 100, batch), embeds, *chosen, *residuals)

    free = {"latents": (3, 4), "timestep": (), "prompt_embeds": (1,)}
    free |= {name: (3, 4) if name in shown else () for name in names}
    if takes_residuals:
        free |= dict.fromkeys(residual_names(config), (2, 3))
    # Traced at a size that does not halve evenly all the way down: its graph then joins levels of any size. No two lengths
    # are the same, as the tracer would take them for one.
    odd = 2 ** len(config.block_out_channels) + 1
    return Graph(model, free, ("prediction",), (example(2, odd, odd + 2, 11), example(1, 16, 8, 77), example(1, 6, 16, 3)))


def embed_guidance(scale: Tensor, width: int) -> Tensor:
    """What a distilled model reads the scale [B] from, [B, width] (arXiv 2310.04378, section 4.1)."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000.0) / (half - 1)))
    angles = (scale - 1)[:, None] * 1000.0 * frequencies[None]
    return F.pad(torch.cat([torch.sin(angles), torch.cos(angles)], dim=1), (0, width % 2))


def picture_size(latents: Tensor, scale: int) -> Tensor:
    """The picture's size in pixels as it was and as it is to be, and where it was cropped: all of it, [B, 6]."""
    height = torch.ones_like(latents[:, 0, 0, :, 0]).sum(dim=1) * scale
    width = torch.ones_like(latents[:, 0, 0, 0, :]).sum(dim=1) * scale
    start = torch.zeros_like(height)
    return torch.stack([height, width, start, start, height, width], dim=1)


def pooled_width(model: UNet2DConditionModel) -> int:
    """Numbers that the UNet reads beside those of `picture_size`."""
    return model.add_embedding.linear_1.in_features - 6 * model.config.addition_time_embed_dim


class VaeHalf(nn.Module):
    """One half of the VAE for one picture, in latents of unit variance. Children have the names that they have in AutoencoderKL."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.scaling = vae.config.scaling_factor


class Encoder(VaeHalf):
    """Mean and standard deviation of the posterior."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__(vae)
        self.encoder, self.quant_conv = vae.encoder, vae.quant_conv

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        moments = self.encoder(pixels.squeeze(2))
        if self.quant_conv is not None:
            moments = self.quant_conv(moments)
        mean, logarithm = moments.chunk(2, dim=1)
        # The bounds are those of DiagonalGaussianDistribution.
        deviation = torch.exp(0.5 * logarithm.clamp(-30.0, 20.0))
        return (mean * self.scaling).unsqueeze(2), (deviation * self.scaling).unsqueeze(2)


class Decoder(VaeHalf):
    def __init__(self, vae: AutoencoderKL):
        super().__init__(vae)
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder

    def forward(self, latents: Tensor) -> Tensor:
        z = (latents / self.scaling).squeeze(2)
        if self.post_quant_conv is not None:
            z = self.post_quant_conv(z)
        return self.decoder(z).unsqueeze(2)


def add_vae(bundle: BundleWriter, vae: AutoencoderKL) -> tuple[int, dict[str, Any]]:
    """Writes both halves, and returns how many pixels a latent position stands for, and what the manifest says of the halves."""
    unknown = [name for name in ("shift_factor", "latents_mean", "latents_std") if vae.config.get(name) is not None]
    if unknown:
        raise ExportError(f"Expected the VAE's latents to be scaled by scaling_factor alone, but its config has {', '.join(unknown)}.")
    scale = 2 ** (len(vae.config.block_out_channels) - 1)

    def picture(channels: int, batch: int, height: int, width: int) -> tuple[Tensor]:
        generator = torch.Generator().manual_seed(height * width)
        return (torch.randn(batch, channels, 1, height, width, generator=generator),)

    sizes = ((2, 4, 6), (1, 6, 4), (1, 3, 5))
    pixels = tuple(picture(3, batch, height * scale, width * scale) for batch, height, width in sizes)
    latents = tuple(picture(vae.config.latent_channels, *size) for size in sizes)
    bundle.add_graph("vae_encoder/model.onnx", Graph(Encoder(vae).eval(), {"pixels": (3, 4)}, ("latents", "latents_std"), pixels))
    bundle.add_graph("vae_decoder/model.onnx", Graph(Decoder(vae).eval(), {"latents": (3, 4)}, ("pixels",), latents))
    attention = {"attentionDivisor": scale} if vae.config.mid_block_add_attention else {}
    # The decoder's last level begins with the channels of the one before.
    channels = {"encoder": vae.config.block_out_channels[0], "decoder": vae.config.block_out_channels[:2][-1]}
    return scale, {
        f"vae{half.capitalize()}": {
            "path": f"vae_{half}/model.onnx", "latentFrames": 1, "work": {"numbersPerPixel": LIVE_MAPS * widest, **attention}, "states": [],
        }
        for half, widest in channels.items()
    }  # fmt: skip
