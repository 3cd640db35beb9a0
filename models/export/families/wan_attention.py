"""Wan's attention with the turns of its rotary positions written so that a graph holds them in few nodes.

WanAttnProcessor of diffusers' models/transformers/transformer_wan.py writes into every other channel, which becomes two scatters and four
transpositions of each query and each key.
"""

from __future__ import annotations

import torch
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor
from torch.nn import functional as F

# The attention over pictures takes the last so many tokens for the text (WanAttnProcessor).
TEXT_TOKENS = 512


class Attend:
    """Stands in for WanAttnProcessor, without masks."""

    def __init__(self, has_rotary: bool):
        # Whether graphs may have the operator for it, which is of opset 23.
        self.has_rotary = has_rotary

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        pictures = None
        if attn.add_k_proj is not None:
            seen, pictures = seen[:, -TEXT_TOKENS:], seen[:, :-TEXT_TOKENS]
        query, key = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(seen))
        if rotary_emb is not None:
            query, key = (self.turned(x, attn.heads, *rotary_emb) for x in (query, key))
        result = attend(query, key, attn.to_v(seen), attn.heads)
        if pictures is not None:
            result = result + attend(query, attn.norm_added_k(attn.add_k_proj(pictures)), attn.add_v_proj(pictures), attn.heads)
        return attn.to_out[0](result)

    def turned(self, x: Tensor, heads: int, cosines: Tensor, sines: Tensor) -> Tensor:
        """Each pair of channels of [B, S, heads * D] turned by its angle, given [1, S, 1, D] with every angle twice."""
        cosine, sine = cosines[:, :, 0, 0::2], sines[:, :, 0, 1::2]
        if self.has_rotary:
            cosine, sine = (table.expand(x.shape[0], -1, -1) for table in (cosine, sine))
            return torch.onnx.ops.rotary_embedding(x, cosine, sine, interleaved=True, num_heads=heads)
        first, second = x.unflatten(2, (heads, -1, 2)).split(1, -1)
        cosine, sine = cosine[:, :, None, :, None], sine[:, :, None, :, None]
        return torch.cat([first * cosine - second * sine, first * sine + second * cosine], -1).flatten(2)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Of [B, S, heads * D] each."""
    by_head = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(*by_head).transpose(1, 2).flatten(2)
