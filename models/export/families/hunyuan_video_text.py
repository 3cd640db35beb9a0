"""The two text encoders of HunyuanVideo: Llama over a prompt within instructions, and CLIP over the prompt as a whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPTextModel, LlamaModel

from ..errors import ExportError
from ..graph import Graph
from ..pipeline_folder import PipelineFolder, read
from ..t5 import token_example

# Layers from the end whose output is not the prompt's embeddings (num_hidden_layers_to_skip of the pipelines).
SKIPPED_LAYERS = 2
# Tokens of a prompt and of what follows it (max_sequence_length of the pipelines).
MAX_TOKENS = 256


def template_ids(folder: PipelineFolder, template: str, start: int) -> tuple[list[int], list[int]]:
    """Tokens of a pipeline's instructions before and after a prompt, of which there are `start` before it. Raises ExportError."""
    tokenizer = read(folder.path / "tokenizer", AutoTokenizer)
    before, after = template.split("{}")
    ids = tokenizer(before).input_ids
    if len(ids) != start:
        raise ExportError(
            f"Expected the tokenizer of {folder.path} to make {start} tokens of the instructions before a prompt, which is where diffusers "
            f"takes the prompt to begin, got {len(ids)}."
        )
    return ids, tokenizer(after, add_special_tokens=False).input_ids


def without_last_layers(model: LlamaModel) -> LlamaModel:
    """The model up to the layer whose output is wanted, as it comes."""
    kept = model.config.num_hidden_layers - SKIPPED_LAYERS
    model.layers = model.layers[:kept]
    model.config.num_hidden_layers = kept
    model.norm = nn.Identity()
    return model


def text_encoder_graph(model: LlamaModel, before: list[int], after: list[int]) -> Graph:
    """Takes the tokens of prompts alone; the instructions around them are constants."""
    if len(after) != 1:
        raise ExportError(f"Expected one token after a prompt, got {len(after)}.")

    class TextEncoder(type(model)):
        """Embeddings of the prompt and of the token that ends it, where there is room for that, and which of them count."""

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
            batch, length = input_ids.shape
            count = attention_mask.sum(dim=1, keepdim=True)
            places = torch.arange(length + 1)[None]
            ids = torch.where(places == count, after[0], torch.cat([input_ids, torch.zeros_like(input_ids[:, :1])], dim=1))
            mask = (places <= count) & (places < MAX_TOKENS)
            start = torch.tensor(before).expand(batch, -1)
            given = torch.cat([start, ids], dim=1)
            seen = torch.cat([torch.ones_like(start), mask.long()], dim=1)
            hidden = super().forward(given, attention_mask=causal(seen), use_cache=False).last_hidden_state
            return hidden[:, len(before) :], mask.to(hidden.dtype)

    without_last_layers(model).__class__ = TextEncoder
    examples = tuple(token_example(model.config.vocab_size, lengths) for lengths in ([9, 5], [3], [1, 20, 7]))
    return Graph(model, {"input_ids": (1,), "attention_mask": (1,)}, ("prompt_embeds", "prompt_mask"), examples)


def causal(seen: Tensor) -> Tensor:
    """[B,1,L,L], true where a token attends: to itself and those before it that are there."""
    places = torch.arange(seen.shape[1])
    return ((places[None] <= places[:, None])[None] & (seen[:, None] > 0))[:, None]


def pooled_encoder_graph(model: CLIPTextModel) -> Graph:
    class TextEncoder(type(model)):
        """The embedding of a prompt's end token; what follows it is not seen."""

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return super().forward(input_ids).pooler_output

    model.__class__ = TextEncoder
    end = model.config.eos_token_id
    longest = model.config.max_position_embeddings
    examples = []
    for lengths in ([longest, longest // 2], [4], [2, longest // 3, 5]):
        ids, mask = token_example(min(model.config.vocab_size - 1, end), lengths)
        ids[torch.arange(len(lengths)), torch.tensor(lengths) - 1] = end
        examples.append((ids, mask))
    return Graph(model, {"input_ids": (1,), "attention_mask": (1,)}, ("pooled_embeds",), tuple(examples))
