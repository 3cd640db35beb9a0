"""Pictures of weighted prompts, as the compel package has it weigh them. Weights below 1 are worked out as it does those above: docs/decisions.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from compel.embeddings_provider import EmbeddingsProvider, ReturnedEmbeddingsType
from torch import Tensor

from .stable_diffusion import PictureGoldens

# How reelspace's prompts are written, and what they mean: stretches and their weights.
PROMPTS: dict[str, tuple[str, list[tuple[str, float]]]] = {
    "more": ("a (red:1.4) cat on the beach", [("a", 1), ("red", 1.4), ("cat on the beach", 1)]),
    "nested": ("(a ((red) cat:1.5) on the beach)", [("a", 1.1), ("red", 1.1 * 1.5 * 1.1), ("cat", 1.5 * 1.1), ("on the beach", 1.1)]),
    "less": ("the (dog:0.5) on the [beach]", [("the", 1), ("dog", 0.5), ("on the", 1), ("beach", 1 / 1.1)]),
}
RUN = {"steps": 3, "scheduler": "euler"}


def providers(pipeline: Any) -> list[EmbeddingsProvider]:
    if not hasattr(pipeline, "text_encoder_2"):
        return [EmbeddingsProvider(pipeline.tokenizer, pipeline.text_encoder)]
    kind = ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED
    pairs = ((pipeline.tokenizer, pipeline.text_encoder), (pipeline.tokenizer_2, pipeline.text_encoder_2))
    return [EmbeddingsProvider(*pair, returned_embeddings_type=kind) for pair in pairs]


def embed(provider: EmbeddingsProvider, pieces: list[tuple[str, float]]) -> Tensor:
    texts, weights = ([piece[at] for piece in pieces] for at in (0, 1))
    if min(weights) >= 1:
        return provider.get_embeddings_for_weighted_prompt_fragments([texts], [weights])
    return provider.build_weighted_embedding_tensor(*provider.get_token_ids_and_expand_weights(texts, weights, device="cpu"), device="cpu")


@torch.no_grad()
def write_goldens(pipeline: Any, path: Path, bundle: str) -> None:
    goldens = PictureGoldens(path)
    for name, (prompt, pieces) in PROMPTS.items():
        asked = {"prompt_embeds": torch.cat([embed(provider, pieces) for provider in providers(pipeline)], dim=-1)}
        plain = " ".join(text for text, _ in pieces)
        if hasattr(pipeline, "text_encoder_2"):
            # What is pooled is not weighted.
            _, negative, asked["pooled_prompt_embeds"], pooled = pipeline.encode_prompt(plain)
            asked["negative_pooled_prompt_embeds"] = pooled
        else:
            _, negative = pipeline.encode_prompt(plain, "cpu", 1, True, "")
        # The one key of a clip is its prompt; brackets in `prompt` itself are for diffusers, which takes them as they are.
        goldens.add(name, pipeline, {**RUN, "promptAt": {"0": prompt}}, **asked, negative_prompt_embeds=negative)
    goldens.save(path, bundle)
