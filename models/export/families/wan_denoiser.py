"""Wan's transformers as denoisers: models/transformers/transformer_wan.py of diffusers, with what its pipelines put around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import WanTransformer3DModel, WanVACETransformer3DModel
from torch import Tensor

from ..graph import Graph
from .wan_attention import TEXT_TOKENS

# How the model's authors call the modules, and how diffusers does (scripts/convert_wan_to_diffusers.py); LoRA files use either.
OTHER_NAMES = {
    **{
        f"{blocks}.{{n}}.{theirs}": f"{blocks}.{{n}}.{ours}"
        for blocks in ("blocks", "vace_blocks")
        for theirs, ours in {
            **{f"self_attn.{one}": f"attn1.to_{one}" for one in "qkv"},
            "self_attn.o": "attn1.to_out.0",
            **{f"cross_attn.{one}": f"attn2.to_{one}" for one in "qkv"},
            "cross_attn.o": "attn2.to_out.0",
            "cross_attn.k_img": "attn2.add_k_proj",
            "cross_attn.v_img": "attn2.add_v_proj",
            **{f"{theirs}.norm_{one}": f"{ours}.norm_{one}" for theirs, ours in (("self_attn", "attn1"), ("cross_attn", "attn2")) for one in "qk"},
            "norm3": "norm2",
            "ffn.0": "ffn.net.0.proj",
            "ffn.2": "ffn.net.2",
        }.items()
    },
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "head.head": "proj_out",
}  # fmt: skip


def with_forward(model: WanTransformer3DModel, forward: Callable[..., Tensor]) -> WanTransformer3DModel:
    """The model itself: a module around it would put a prefix before every parameter's name."""
    model.__class__ = type("Denoiser", (type(model),), {"forward": forward})
    return model


def examples(
    model: WanTransformer3DModel, channels: int, others: Callable[..., tuple[Tensor, ...]], tokens: tuple[int, int, int] = (7, 12, 3)
) -> tuple[tuple[Tensor, ...], ...]:
    """Latents, timestep and prompt at three sizes; `others` makes the rest from batch, shape and generator."""

    def example(batch: int, frames: int, height: int, width: int, length: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(frames * height + width)
        latents = torch.randn(batch, channels, frames, height, width, generator=generator)
        prompt = torch.randn(batch, length, model.config.text_dim, generator=generator)
        return latents, torch.linspace(900, 100, batch), prompt, *others(latents, generator)

    return example(2, 3, 8, 12, tokens[0]), example(1, 1, 6, 4, tokens[1]), example(1, 5, 4, 10, tokens[2])


def text_denoiser(model: WanTransformer3DModel) -> Graph:
    official = type(model).forward

    def forward(self: Any, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> Tensor:
        return official(self, latents, timestep, prompt_embeds, return_dict=False)[0]

    free = {"latents": (2, 3, 4), "timestep": (), "prompt_embeds": (1,)}
    made = examples(model, model.config.in_channels, lambda latents, generator: ())
    return Graph(with_forward(model, forward), free, ("prediction",), made)


def picture_denoiser(model: WanTransformer3DModel, temporal_compression: int, picture_tokens: int | None) -> Graph:
    """Latents beside the pixel frames that are known, and the whole clip with grey for the others; `picture_tokens` are those that
    the image encoder gives of a picture, where the model takes them."""
    official = type(model).forward

    def forward(
        self: Any, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor,
        condition_latents: Tensor, condition_mask: Tensor, image_embeds: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        x = torch.cat([latents, condition_mask, condition_latents], dim=1)
        if image_embeds is not None:
            # Several pictures' tokens come in a row, and the official code takes a picture a row.
            image_embeds = image_embeds.reshape(-1, picture_tokens, image_embeds.shape[-1])
        return official(self, x, timestep, prompt_embeds, image_embeds, return_dict=False)[0]

    def others(latents: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        batch, _, *volume = latents.shape
        given = [
            torch.randn(latents.shape, generator=generator),
            (torch.rand(batch, temporal_compression, *volume, generator=generator) > 0.5).float(),
        ]
        if picture_tokens is not None:
            tokens = model.config.pos_embed_seq_len or picture_tokens
            given.append(torch.randn(batch, tokens, model.config.image_dim, generator=generator))
        return tuple(given)

    free = {
        "latents": (2, 3, 4), "timestep": (), "prompt_embeds": (1,), "condition_latents": (2, 3, 4), "condition_mask": (2, 3, 4),
    }  # fmt: skip
    lengths = (7, 12, 3)
    if picture_tokens is not None:
        free |= {"prompt_embeds": (), "image_embeds": ()}
        lengths = (TEXT_TOKENS,) * 3
    made = examples(model, model.config.out_channels, others, lengths)
    return Graph(with_forward(model, forward), free, ("prediction",), made)


def kept_frames_denoiser(model: WanTransformer3DModel) -> Graph:
    """Known latents stand in the latents themselves, at timestep 0, as WanImageToVideoPipeline does with expand_timesteps."""
    official = type(model).forward
    _, high, wide = model.config.patch_size

    def forward(
        self: Any, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor, condition_latents: Tensor, condition_mask: Tensor
    ) -> Tensor:
        unknown = 1 - condition_mask
        x = condition_mask * condition_latents + unknown * latents
        times = (unknown[:, 0, :, ::high, ::wide] * timestep.view(-1, 1, 1, 1)).flatten(1)
        return official(self, x, times, prompt_embeds, return_dict=False)[0]

    def others(latents: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        known = torch.zeros(latents.shape[0], 1, *latents.shape[2:])
        known[:, :, 0] = 1
        return torch.randn(latents.shape, generator=generator), known

    free = {
        "latents": (2, 3, 4), "timestep": (), "prompt_embeds": (1,), "condition_latents": (2, 3, 4), "condition_mask": (2, 3, 4),
    }  # fmt: skip
    return Graph(with_forward(model, forward), free, ("prediction",), examples(model, model.config.in_channels, others))


def controlled_denoiser(model: WanVACETransformer3DModel, spatial_compression: int) -> Graph:
    """Latents beside a clip in two parts, what stays and what is made over, and the pixels that stay."""
    official = type(model).forward
    layers = len(model.config.vace_layers)

    def forward(
        self: Any, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor,
        condition_latents: Tensor, condition_mask: Tensor, control_latents: Tensor, control_scale: Tensor,
    ) -> Tensor:  # fmt: skip
        for axis in (0, 2, 3, 4):
            torch._check(condition_latents.shape[axis] == latents.shape[axis])
        control = torch.cat([condition_latents, control_latents, 1 - condition_mask], dim=1)
        scale = control_scale.reshape(1, -1, 1, 1).expand(layers, -1, 1, 1)
        return official(
            self, latents, timestep, prompt_embeds,
            control_hidden_states=control, control_hidden_states_scale=scale, return_dict=False,
        )[0]  # fmt: skip

    def others(latents: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        batch, _, *volume = latents.shape
        condition, control = torch.randn((2, *latents.shape), generator=generator)
        keep = (torch.rand(batch, spatial_compression**2, *volume, generator=generator) > 0.5).float()
        return condition, keep, control, torch.linspace(0.5, 1.5, batch)

    free = {"latents": (2, 3, 4), "timestep": (), "prompt_embeds": (1,)}
    free |= {name: (2, 3, 4) for name in ("condition_latents", "condition_mask", "control_latents")} | {"control_scale": ()}
    return Graph(with_forward(model, forward), free, ("prediction",), examples(model, model.config.in_channels, others))
