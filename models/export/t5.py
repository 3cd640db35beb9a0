"""T5's encoder (arXiv 1910.10683) as text encoder."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import T5EncoderModel

from .graph import Graph


def token_example(vocabulary: int, lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Ids and mask of prompts of those lengths, for a comparison with PyTorch."""
    generator = torch.Generator().manual_seed(sum(lengths))
    ids = torch.randint(0, vocabulary, (len(lengths), max(lengths)), generator=generator)
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return ids, mask.long()


def text_encoder_graph(model: T5EncoderModel, sees_padding: bool) -> Graph:
    """`sees_padding`: for the pipelines that let prompts see what they are filled up with."""

    class TextEncoder(type(model)):
        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return super().forward(input_ids, None if sees_padding else attention_mask).last_hidden_state

    # A module around it would put a prefix before every parameter's name.
    model.__class__ = TextEncoder
    examples = tuple(token_example(model.config.vocab_size, lengths) for lengths in ([9, 5], [3], [1, 20, 7]))
    return Graph(model, {"input_ids": (1,), "attention_mask": (1,)}, ("prompt_embeds",), examples)
