"""HunyuanVideo's transformer as denoiser: models/transformers/transformer_hunyuan_video.py of diffusers."""

from __future__ import annotations

import math

import torch
from diffusers import HunyuanVideoTransformer3DModel
from diffusers.models.embeddings import Timesteps
from torch import Tensor, nn

from ..graph import Graph

# The number that stands for a guidance scale of 1 (step 6 of the pipelines).
GUIDANCE_UNIT = 1000.0


class Waves(nn.Module):
    """Cosines and sines of numbers (Timesteps of models/embeddings.py). Their rates are constants: guidance is told as thousands, whose
    angles show a rate's last bit."""

    def __init__(self, official: Timesteps):
        super().__init__()
        half = official.num_channels // 2
        exponent = -math.log(10000) * torch.arange(half, dtype=torch.float32)
        self.register_buffer("rates", torch.exp(exponent / (half - official.downscale_freq_shift)))

    def forward(self, numbers: Tensor) -> Tensor:
        angles = numbers[:, None] * self.rates
        return torch.cat([angles.cos(), angles.sin()], dim=1)


def denoiser_graph(model: HunyuanVideoTransformer3DModel) -> Graph:
    config = model.config
    # A model that is not distilled has no use for it.
    told = ["guidance"] if config.guidance_embeds else []

    class Denoiser(type(model)):
        def forward(
            self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor, prompt_mask: Tensor, pooled_embeds: Tensor, *guidance: Tensor
        ) -> Tensor:
            batch = latents.shape[0]
            # Tells the tracing that the batches are one.
            prompt_embeds, prompt_mask = prompt_embeds.expand(batch, -1, -1), prompt_mask.expand(batch, -1)
            scale = guidance[0] * GUIDANCE_UNIT if guidance else None
            return predict(self, latents, timestep, prompt_embeds, prompt_mask, pooled_embeds, scale)

    model.__class__ = Denoiser
    for module in (model.time_text_embed, model.context_embedder.time_text_embed):
        module.time_proj = Waves(module.time_proj)

    def example(batch: int, frames: int, height: int, width: int, tokens: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(frames * height + width)
        mask = torch.ones(batch, tokens)
        mask[0, tokens // 2 :] = 0
        return (
            torch.randn(batch, config.in_channels, frames, height, width, generator=generator),
            torch.linspace(900, 100, batch),
            torch.randn(batch, tokens, config.text_embed_dim, generator=generator),
            mask,
            torch.randn(batch, config.pooled_projection_dim, generator=generator),
            *(torch.linspace(6, 1, batch) for _ in told),
        )

    free = {"latents": (2, 3, 4), "timestep": (), "prompt_embeds": (1,), "prompt_mask": (1,), "pooled_embeds": ()} | dict.fromkeys(told, ())
    return Graph(model, free, ("prediction",), (example(2, 3, 8, 12, 7), example(1, 1, 6, 4, 12), example(1, 5, 4, 10, 3)))


def predict(
    model: HunyuanVideoTransformer3DModel, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor, prompt_mask: Tensor, pooled: Tensor,
    guidance: Tensor | None,
) -> Tensor:  # fmt: skip
    """What the model's own forward returns, which masks in a way that onnxruntime has no kernel for."""
    size = model.config.patch_size
    frames, rows, columns = latents.shape[2], latents.shape[3] // size, latents.shape[4] // size
    rotary = model.rope(latents)
    level, still_level = model.time_text_embed(timestep, pooled, guidance)
    x = model.x_embedder(latents)
    text = model.context_embedder(prompt_embeds, timestep, prompt_mask)
    # The tokens that count come first.
    places = torch.arange(prompt_mask.shape[1])[None]
    is_text = places < prompt_mask.sum(dim=1, keepdim=True)
    seen = torch.cat([torch.ones_like(x[..., 0], dtype=torch.bool), is_text], dim=1)[:, None, None]
    for block in (*model.transformer_blocks, *model.single_transformer_blocks):
        x, text = block(x, text, level, seen, rotary, still_level, rows * columns)
    x = model.proj_out(model.norm_out(x, level))
    x = x.unflatten(2, (-1, size, size)).unflatten(1, (frames, rows, columns))
    return x.permute(0, 4, 1, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)
