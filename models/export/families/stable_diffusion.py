"""Stable Diffusion 1 and 2 (arXiv 2112.10752): a CLIP text encoder, a UNet over one picture's latents, and a VAE for pictures.

What the graphs must equal: pipelines/stable_diffusion of diffusers. A picture is a clip of one frame here, so that latents and
pixels have a time axis of length 1.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from ..bundle import BundleWriter
from ..errors import ExportError
from ..graph import Graph
from ..pipeline_folder import PipelineFolder
from ..tokenizer import add_tokenizer

COMPONENTS = ("tokenizer", "text_encoder", "unet", "vae", "scheduler")
FRAME_RATE = 8


def export(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    """Pictures from a prompt, or with a UNet that is shown the picture around the mask, pictures with a part made anew."""
    folder.require(COMPONENTS)
    # Each network is let go of before the next one is read.
    add_tokenizer(bundle, folder)
    text_encoder = folder.load("text_encoder", CLIPTextModel)
    max_tokens = text_encoder.config.max_position_embeddings
    bundle.add_graph("text_encoder/model.onnx", text_encoder_graph(text_encoder))
    del text_encoder
    unet = folder.load("unet", UNet2DConditionModel)
    channels = unet.config.out_channels
    sees_picture = unet.config.in_channels == 2 * channels + 1
    if unet.config.in_channels != channels and not sees_picture:
        raise ExportError(
            f"Expected the UNet of {folder.path} to take {channels} channels of latents, or with a mask and the latents of a masked "
            f"picture {2 * channels + 1}, got {unet.config.in_channels}."
        )
    side = unet.config.sample_size
    bundle.add_graph("unet/model.onnx", denoiser_graph(unet))
    del unet
    vae = folder.load("vae", AutoencoderKL)
    if vae.config.latent_channels != channels:
        raise ExportError(f"Expected the VAE of {folder.path} to have {channels} channels, got {vae.config.latent_channels}.")
    scale = add_vae(bundle, vae)
    denoiser: dict[str, Any] = {"path": "unet/model.onnx", "inputs": ["prompt_embeds"]}
    if sees_picture:
        denoiser["inputs"] += ["condition_latents", "condition_mask"]
        denoiser |= {"conditionMask": ["keep"], "conditionFrom": "pixels", "knownFrames": "told"}
    return {
        "summary": "Stable Diffusion: a part of a picture made anew by a prompt." if sees_picture
        else "Stable Diffusion: pictures from a prompt.",
        "tasks": ["inpaint"] if sees_picture else ["text", "restyle", "inpaint"],
        "latent": {"channels": channels, "temporalCompression": 1, "spatialCompression": scale, "sizeMultiple": scale},
        "defaults": {
            "width": side * scale, "height": side * scale, "numFrames": 1, "frameRate": FRAME_RATE, "steps": 50,
            "guidanceScale": 7.5, "negativePrompt": "", "strength": 0.8,
        },
        "window": {"latentFrames": 1, "overlap": 0},
        "graphs": {
            "textEncoder": {"path": "text_encoder/model.onnx", "maxTokens": max_tokens, "padding": "max"},
            "denoiser": denoiser,
            "vaeEncoder": {"path": "vae_encoder/model.onnx", "latentFrames": 1, "states": []},
            "vaeDecoder": {"path": "vae_decoder/model.onnx", "latentFrames": 1, "states": []},
        },
    }  # fmt: skip


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


def denoiser_graph(model: UNet2DConditionModel) -> Graph:
    channels = model.config.out_channels
    has_condition = model.config.in_channels != channels

    class Denoiser(type(model)):
        """The prediction for one picture. `condition_mask` is 1 where the picture is kept."""

        def predict(self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> Tensor:
            return super().forward(latents.squeeze(2), timestep, prompt_embeds, return_dict=False)[0].unsqueeze(2)

    class Plain(Denoiser):
        def forward(self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> Tensor:
            return self.predict(latents, timestep, prompt_embeds)

    class Conditioned(Denoiser):
        def forward(
            self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor, condition_latents: Tensor, condition_mask: Tensor
        ) -> Tensor:
            return self.predict(torch.cat([latents, 1 - condition_mask, condition_latents], dim=1), timestep, prompt_embeds)

    model.__class__ = Conditioned if has_condition else Plain

    def example(batch: int, height: int, width: int, tokens: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(height * width)
        shape = (batch, channels, 1, height, width)
        given = [
            torch.randn(shape, generator=generator),
            torch.linspace(900, 100, batch),
            torch.randn(batch, tokens, model.config.cross_attention_dim, generator=generator),
        ]
        if has_condition:
            given += [torch.randn(shape, generator=generator), (torch.randn(batch, 1, *shape[2:], generator=generator) > 0).float()]
        return tuple(given)

    free = {"latents": (3, 4), "timestep": (), "prompt_embeds": (1,)}
    if has_condition:
        free |= {"condition_latents": (3, 4), "condition_mask": (3, 4)}
    # Traced at a size that does not halve evenly all the way down: its graph then joins levels of any size.
    odd = 2 ** len(model.config.block_out_channels) + 1
    return Graph(model, free, ("prediction",), (example(2, odd, odd + 2, 7), example(1, 16, 8, 77), example(1, 6, 16, 3)))


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


def add_vae(bundle: BundleWriter, vae: AutoencoderKL) -> int:
    """Writes both halves, and returns how many pixels a latent position stands for."""
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
    return scale
