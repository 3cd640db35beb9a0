"""Weighted prompts by compel, on the text encoders of the test bundles. Needs the packages compel and onnxruntime.

    python -m goldens.make_prompts        (from models/) writes test/goldens/prompts.safetensors

The graphs stand in for the text encoders; cutting a prompt up, weighting and the empty prompt are compel's own code.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import torch
from compel.embeddings_provider import EmbeddingsProvider
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from export.parity.fixtures import copy_whole

TESTS = Path(__file__).resolve().parents[2] / "test"
SPECIAL_TOKENS = {
    "tiny-bundle": {"bos_token": "[CLS]", "eos_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"},
    "tiny-wan": {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
}

# How reelspace's prompts are written, and what they mean: stretches and their weights.
EMPHASIS = 1.1
PROMPTS: list[tuple[str, list[tuple[str, float]]]] = [
    ("a red fox in the snow", [("a red fox in the snow", 1)]),
    ("a (red:1.4) fox in the snow", [("a", 1), ("red", 1.4), ("fox in the snow", 1)]),
    ("a ((red fox)) in the (snow)", [("a", 1), ("red fox", EMPHASIS**2), ("in the", 1), ("snow", EMPHASIS)]),
    ("(a (red:1.5) fox:1.2) in the snow", [("a", 1.2), ("red", 1.5 * 1.2), ("fox", 1.2), ("in the snow", 1)]),
    ("a [red] fox", [("a", 1), ("red", 1 / EMPHASIS), ("fox", 1)]),
    ("a cat (on the beach:0.4), [[blurry]]", [("a cat", 1), ("on the beach", 0.4), (",", 1), ("blurry", 1 / EMPHASIS**2)]),
    (r"a \(red\) (fox:0)", [("a (red)", 1), ("fox", 0)]),
]


class GraphEncoder:
    """A text encoder's graph in the place of the module that compel expects."""

    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, path: Path, pad_id: int) -> None:
        self.session = onnxruntime.InferenceSession(path)
        self.pad_id = pad_id

    def __call__(self, ids: Tensor, attention_mask: Tensor | None = None, **_: object) -> SimpleNamespace:
        mask = (ids != self.pad_id) if attention_mask is None else attention_mask
        feeds = {"input_ids": ids.long().numpy(), "attention_mask": mask.long().numpy()}
        embeds = torch.from_numpy(self.session.run(None, feeds)[0])
        return SimpleNamespace(last_hidden_state=embeds)


def provider(folder: Path, length: int) -> EmbeddingsProvider:
    # compel knows the tokens around a prompt by CLIP's names for them.
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer/tokenizer.json"), **SPECIAL_TOKENS[folder.name])
    encoder = GraphEncoder(folder / "text_encoder/model.onnx", tokenizer.pad_token_id)
    return EmbeddingsProvider(tokenizer, encoder, padding_attention_mask_value=0, model_max_length=length, device="cpu")


def tokens_of(folder: Path, pieces: list[tuple[str, float]]) -> int:
    whole = provider(folder, 512)
    ids = whole.get_token_ids([text for text, _ in pieces], include_start_and_end_markers=False)
    return sum(map(len, ids)) + len(whole.bos_sequence) + len(whole.eos_sequence)


def weighted(folder: Path, pieces: list[tuple[str, float]]) -> Tensor:
    texts, weights = [text for text, _ in pieces], [weight for _, weight in pieces]
    compel = provider(folder, tokens_of(folder, pieces))
    ids, token_weights, mask = compel.get_token_ids_and_expand_weights(texts, weights, device="cpu")
    embeds = compel.build_weighted_embedding_tensor(ids, token_weights, mask, device="cpu")
    if min(weights) >= 1:
        # Below 1, compel goes on to blend with a prompt that lacks the words; reelspace does not.
        torch.testing.assert_close(compel.get_embeddings_for_weighted_prompt_fragments([texts], [weights]), embeds, rtol=0, atol=0)
    return embeds[0]


def main() -> None:
    with tempfile.TemporaryDirectory() as whole:
        copy_whole(Path(whole))
        tensors = {
            f"{folder.name}.{index}": weighted(folder, pieces).contiguous()
            for folder in (TESTS / "fixtures/tiny-bundle", Path(whole) / "tiny-wan")
            for index, (_, pieces) in enumerate(PROMPTS)
        }
    save_file(tensors, TESTS / "goldens/prompts.safetensors", {"prompts": json.dumps([prompt for prompt, _ in PROMPTS])})


if __name__ == "__main__":
    main()
