"""Stable Diffusion XL (arXiv 2307.01952): two CLIP text encoders, and a UNet that is told the picture's size.

What the graphs must equal: pipelines/stable_diffusion_xl of diffusers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection

from ..bundle import BundleWriter
from ..errors import ExportError
from ..graph import Graph
from ..pipeline_folder import PipelineFolder, read
from ..tokenizer import add_tokenizer
from .sgm_names import sgm_names
from .stable_diffusion import COMPONENTS, add_pictures, is_turbo, token_examples

# What LoRA files call the encoders and their modules.
TEXT_NAMES = {"text_model.encoder": "text_encoder.encoder", "te2.text_model.encoder": "text_encoder_2.text_model.encoder"}


def export(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    folder.require((*COMPONENTS, "text_encoder_2", "tokenizer_2"))
    padding_2 = second_padding(folder)
    add_tokenizer(bundle, folder)
    encoders = TextEncoders(
        folder.load("text_encoder", CLIPTextModel), folder.load("text_encoder_2", CLIPTextModelWithProjection), padding_2
    )
    max_tokens = encoders.text_encoder.config.max_position_embeddings
    inputs = {"input_ids": (1,), "attention_mask": (1,)}
    examples = token_examples(encoders.text_encoder)
    graph = Graph(encoders.eval(), inputs, ("prompt_embeds", "pooled_embeds"), examples, unused_names(encoders))
    bundle.add_graph("text_encoder/model.onnx", graph)
    unused = unused_modules(encoders)
    del encoders, graph
    described = add_pictures(folder, bundle)
    names = sgm_names(folder.config("unet"))
    if "pooled_embeds" not in described["graphs"]["denoiser"]["inputs"]:
        raise ExportError(f"Expected the UNet of {folder.path} to take pooled text and a picture's size.")
    described["graphs"]["denoiser"]["otherNames"] = names
    described["graphs"]["textEncoder"] = {
        "path": "text_encoder/model.onnx", "maxTokens": max_tokens, "padding": "max", "otherNames": TEXT_NAMES, "unusedModules": unused,
    }  # fmt: skip
    if folder.index.get("force_zeros_for_empty_prompt", True):
        described["graphs"]["textEncoder"]["unaskedNegative"] = "zeros"
    described["summary"] = described["summary"].replace("Stable Diffusion", "Stable Diffusion XL")
    if not is_turbo(folder):
        described["defaults"]["guidanceScale"] = 5
    return described


class TextEncoders(nn.Module):
    """Both encoders over one prompt: their embeddings side by side, and the second one's of the whole prompt."""

    def __init__(self, first: CLIPTextModel, second: CLIPTextModelWithProjection, padding_2: int):
        super().__init__()
        self.text_encoder, self.text_encoder_2 = first, second
        self.padding_2 = padding_2

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        first = self.text_encoder(input_ids, output_hidden_states=True)
        ids_2 = torch.where(attention_mask == 1, input_ids, self.padding_2)
        second = self.text_encoder_2(ids_2, output_hidden_states=True)
        return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), second.text_embeds


def unused_modules(encoders: TextEncoders) -> list[str]:
    """The first encoder's last layer and what follows it, which nobody looks at."""
    last = f".layers.{encoders.text_encoder.config.num_hidden_layers - 1}"
    names = (name for name, _ in encoders.named_modules() if name.startswith("text_encoder."))
    return [name for name in names if name.endswith((last, "final_layer_norm"))]


def unused_names(encoders: TextEncoders) -> frozenset[str]:
    parts = tuple(f"{name}." for name in unused_modules(encoders))
    return frozenset(name for name, _ in encoders.named_parameters() if name.startswith(parts))


def second_padding(folder: PipelineFolder) -> int:
    """The token that fills prompts of the second encoder up. Raises ExportError unless both read text alike otherwise."""
    first, second = (read(folder.path / name, AutoTokenizer) for name in ("tokenizer", "tokenizer_2"))
    if first.get_vocab() != second.get_vocab() or second.pad_token_id is None:
        raise ExportError(f"Expected tokenizer and tokenizer_2 of {folder.path} to have one vocabulary, and a padding token each.")
    return second.pad_token_id
