"""HunyuanVideo's transformer as denoiser: models/transformers/transformer_hunyuan_video.py of diffusers.

What models from pictures are given besides: steps 3 and 7 of pipelines/hunyuan_video/pipeline_hunyuan_video_image2video.py.
"""

from __future__ import annotations

import math

import torch
from diffusers import HunyuanVideoTransformer3DModel
from diffusers.models.embeddings import Timesteps
from diffusers.models.transformers.transformer_hunyuan_video import (
    HunyuanVideoTokenReplaceSingleTransformerBlock,
    HunyuanVideoTokenReplaceTransformerBlock,
)
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


class Block(HunyuanVideoTokenReplaceTransformerBlock):
    """Knows the first frame's tokens by their places; the official one cuts them off, which tracing can't follow."""

    def forward(
        self, x: Tensor, text: Tensor, level: Tensor, seen: Tensor, rotary: tuple[Tensor, Tensor], still_level: Tensor, still_tokens: int
    ) -> tuple[Tensor, Tensor]:
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = by_place(self.norm1, level, still_level, x.shape[1], still_tokens, 6)
        normed, text_gate, text_shift, text_scale, text_mlp_gate = self.norm1_context(text, emb=level)
        attended, attended_text = self.attn(
            hidden_states=self.norm1.norm(x) * (1 + scale) + shift, encoder_hidden_states=normed, attention_mask=seen, image_rotary_emb=rotary
        )
        x = x + attended * gate
        x = x + self.ff(self.norm2(x) * (1 + mlp_scale) + mlp_shift) * mlp_gate
        text = text + attended_text * text_gate[:, None]
        normed = self.norm2_context(text) * (1 + text_scale[:, None]) + text_shift[:, None]
        return x, text + self.ff_context(normed) * text_mlp_gate[:, None]


class SingleBlock(HunyuanVideoTokenReplaceSingleTransformerBlock):
    """The same over latents and text in a row."""

    def forward(
        self, x: Tensor, text: Tensor, level: Tensor, seen: Tensor, rotary: tuple[Tensor, Tensor], still_level: Tensor, still_tokens: int
    ) -> tuple[Tensor, Tensor]:
        count = x.shape[1]
        joined = torch.cat([x, text], dim=1)
        shift, scale, gate = by_place(self.norm, level, still_level, joined.shape[1], still_tokens, 3)
        normed = self.norm.norm(joined) * (1 + scale) + shift
        attended = self.attn(
            hidden_states=normed[:, :count], encoder_hidden_states=normed[:, count:], attention_mask=seen, image_rotary_emb=rotary
        )
        joined = joined + self.proj_out(torch.cat([torch.cat(attended, dim=1), self.act_mlp(self.proj_mlp(normed))], dim=2)) * gate
        return joined[:, :count], joined[:, count:]


def by_place(norm: nn.Module, level: Tensor, still_level: Tensor, tokens: int, still_tokens: int, count: int) -> list[Tensor]:
    """`count` modulations [B,S,D], those of `still_level` for the first `still_tokens`."""
    is_still = (torch.arange(tokens) < still_tokens)[None, :, None]
    own, still = (norm.linear(norm.silu(one))[:, None].chunk(count, dim=2) for one in (level, still_level))
    return [torch.where(is_still, *pair) for pair in zip(still, own, strict=True)]


BLOCKS = {HunyuanVideoTokenReplaceTransformerBlock: Block, HunyuanVideoTokenReplaceSingleTransformerBlock: SingleBlock}


def denoiser_graph(model: HunyuanVideoTransformer3DModel) -> Graph:
    config = model.config
    # A model that is not distilled has no use for it.
    told = ["guidance"] if config.guidance_embeds else []
    is_beside, is_inside = (config.image_condition_type == kind for kind in ("latent_concat", "token_replace"))
    known = ["condition_latents", "condition_mask"] if is_beside or is_inside else []

    class Denoiser(type(model)):
        def forward(
            self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor, prompt_mask: Tensor, pooled_embeds: Tensor, *more: Tensor
        ) -> Tensor:
            batch = latents.shape[0]
            # Tells the tracing that the batches are one.
            prompt_embeds, prompt_mask = prompt_embeds.expand(batch, -1, -1), prompt_mask.expand(batch, -1)
            given = dict(zip((*told, *known), more, strict=True))
            scale = given["guidance"] * GUIDANCE_UNIT if told else None
            still = None
            if is_beside:
                latents = torch.cat([latents, given["condition_latents"], given["condition_mask"]], dim=1)
            if is_inside:
                mask = given["condition_mask"]
                latents = torch.where(mask > 0.5, given["condition_latents"], latents)
                still = mask[:, 0, 0].flatten(1).amin(dim=1) > 0.5
            return predict(self, latents, timestep, prompt_embeds, prompt_mask, pooled_embeds, scale, still)

    model.__class__ = Denoiser
    for module in (model.time_text_embed, model.context_embedder.time_text_embed):
        module.time_proj = Waves(module.time_proj)
    for block in (*model.transformer_blocks, *model.single_transformer_blocks):
        block.__class__ = BLOCKS.get(type(block), type(block))

    def example(batch: int, frames: int, height: int, width: int, tokens: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(frames * height + width)
        mask = torch.ones(batch, tokens)
        mask[0, tokens // 2 :] = 0
        latents = torch.randn(batch, config.out_channels, frames, height, width, generator=generator)
        is_known = torch.zeros_like(latents[:, :1])
        is_known[0, :, 0] = 1
        return (
            latents,
            torch.linspace(900, 100, batch),
            torch.randn(batch, tokens, config.text_embed_dim, generator=generator),
            mask,
            torch.randn(batch, config.pooled_projection_dim, generator=generator),
            *(torch.linspace(6, 1, batch) for _ in told),
            *((latents.flip(1) * is_known, is_known) if known else ()),
        )

    volume = (2, 3, 4)
    free = {"latents": volume, "timestep": (), "prompt_embeds": (1,), "prompt_mask": (1,), "pooled_embeds": ()}
    free |= dict.fromkeys(told, ()) | dict.fromkeys(known, volume)
    return Graph(model, free, ("prediction",), (example(2, 3, 8, 12, 7), example(1, 1, 6, 4, 12), example(1, 5, 4, 10, 3)))


def predict(
    model: HunyuanVideoTransformer3DModel, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor, prompt_mask: Tensor, pooled: Tensor,
    guidance: Tensor | None, is_still: Tensor | None,
) -> Tensor:  # fmt: skip
    """What the model's own forward returns, which masks in a way that onnxruntime has no kernel for. `is_still` [B] tells whose first
    frame is free of noise, where the model can tell; the official one takes all first frames for that."""
    size = model.config.patch_size
    frames, rows, columns = latents.shape[2], latents.shape[3] // size, latents.shape[4] // size
    rotary = model.rope(latents)
    level, still_level = model.time_text_embed(timestep, pooled, guidance)
    if is_still is not None:
        still_level = torch.where(is_still[:, None], still_level, level)
    x = model.x_embedder(latents)
    text = model.context_embedder(prompt_embeds, timestep, prompt_mask)
    seen = torch.cat([torch.ones_like(x[..., 0], dtype=torch.bool), prompt_mask > 0], dim=1)[:, None, None]
    for block in (*model.transformer_blocks, *model.single_transformer_blocks):
        x, text = block(x, text, level, seen, rotary, still_level, rows * columns)
    x = model.proj_out(model.norm_out(x, level))
    x = x.unflatten(2, (-1, size, size)).unflatten(1, (frames, rows, columns))
    return x.permute(0, 4, 1, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)
