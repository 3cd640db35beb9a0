"""How HunyuanVideo's models from pictures read prompts: Llava (arXiv 2304.08485) is shown the picture within the instructions.

What the graphs must equal: encode_prompt of pipelines/hunyuan_video/pipeline_hunyuan_video_image2video.py of diffusers.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_image2video import DEFAULT_PROMPT_TEMPLATE
from torch import Tensor, nn
from transformers import CLIPImageProcessor, LlamaModel, LlavaForConditionalGeneration

from ..bundle import BundleWriter
from ..clip_pictures import check_processor, is_skipped, last_but_one_states, picture_examples
from ..errors import ExportError
from ..graph import Graph
from ..pipeline_folder import PipelineFolder, read
from ..t5 import token_example
from .hunyuan_video_text import causal, template_ids, without_last_layers

# Where the picture's tokens stand in the instructions, and how many there are.
PICTURE_START, PICTURE_TOKENS = DEFAULT_PROMPT_TEMPLATE["image_emb_start"], DEFAULT_PROMPT_TEMPLATE["image_emb_len"]
# What stands behind a prompt; the last of these tokens is kept as one of the prompt's.
TOKENS_AFTER = 5
# Tokens of a prompt that are read.
MAX_TOKENS = 256 - TOKENS_AFTER + 1
# Of a picture's tokens every second one is kept, or fewer; the calls of diffusers keep that many of a negative prompt's.
STRIDE = 2


class PictureEncoder(nn.Module):
    """A picture as Llama is given it: a token for each of its patches."""

    def __init__(self, model: LlavaForConditionalGeneration, processor: Any):
        super().__init__()
        self.vision_tower, self.multi_modal_projector = model.model.vision_tower, model.model.multi_modal_projector
        self.processor = processor

    def forward(self, pixels: Tensor) -> Tensor:
        return self.multi_modal_projector(last_but_one_states(self.vision_tower, self.processor, pixels)[:, 1:])


def picture_graph(encoder: PictureEncoder) -> Graph:
    prefix = "vision_tower."
    names = [name for name, _ in encoder.named_parameters()]
    unused = frozenset(name for name in names if name.startswith(prefix) and is_skipped(encoder.vision_tower, name.removeprefix(prefix)))
    return Graph(encoder, {"pixels": (2, 3)}, ("image_embeds",), picture_examples(encoder.processor), unused)


def told_encoder_graph(model: LlamaModel, before: list[int], after: list[int], black: Tensor, stride: int) -> Graph:
    """Takes the tokens of prompts alone, and pictures as their tokens; the instructions around both are constants.

    `black` [1,N,D] is what stands for the picture of a prompt that is shown none, as negative prompts are, and `stride` how many of a
    picture's tokens there are for one that is kept.
    """
    count_before = len(before) - 1 + PICTURE_TOKENS

    class TextEncoder(type(model)):
        """Embeddings of a prompt, of the token that ends the instructions, and of the picture; and which of them count."""

        def forward(self, input_ids: Tensor, attention_mask: Tensor, image_embeds: Tensor) -> tuple[Tensor, Tensor]:
            batch, length = input_ids.shape
            # Tells the tracing that the batches are one.
            image_embeds = image_embeds.expand(batch, -1, -1)
            is_shown = (image_embeds != 0).flatten(1).any(dim=1, keepdim=True)
            pictures = torch.where(is_shown[..., None], image_embeds, self.black)
            count = attention_mask.sum(dim=1, keepdim=True)
            places = torch.arange(length + TOKENS_AFTER)[None]
            behind = torch.tensor(after)[(places - count).clamp(0, TOKENS_AFTER - 1)]
            padded = torch.cat([input_ids, torch.zeros_like(behind[:, :TOKENS_AFTER])], dim=1)
            prompt = self.embed_tokens(torch.where(places < count, padded, behind))
            start = self.embed_tokens(torch.tensor(before)).expand(batch, -1, -1)
            given = torch.cat([start[:, :PICTURE_START], pictures, start[:, PICTURE_START + 1 :], prompt], dim=1)
            is_there = (places < count + TOKENS_AFTER).long()
            seen = torch.cat([torch.ones(batch, count_before, dtype=torch.long), is_there], dim=1)
            hidden = super().forward(inputs_embeds=given, attention_mask=causal(seen), use_cache=False).last_hidden_state
            kept = torch.arange(length + 1)[None]
            taken = torch.where(kept == count, count + TOKENS_AFTER - 1, kept)
            text = hidden[:, count_before:].gather(1, taken[..., None].expand(-1, -1, hidden.shape[2]))
            counts = (kept < count) | ((kept == count) & (count < MAX_TOKENS))
            picture = hidden[:, PICTURE_START : PICTURE_START + PICTURE_TOKENS : STRIDE]
            sparse = torch.arange(0, PICTURE_TOKENS, STRIDE)[None] % stride == 0
            mask = torch.cat([counts, sparse | ~is_shown], dim=1)
            return torch.cat([text, picture], dim=1), mask.to(hidden.dtype)

    without_last_layers(model).__class__ = TextEncoder
    model.register_buffer("black", black)

    def example(lengths: list[int]) -> tuple[Tensor, ...]:
        pictures = torch.randn(len(lengths), *black.shape[1:], generator=torch.Generator().manual_seed(len(lengths)))
        # The last one is shown none, where there are several.
        pictures[1:][-1:] = 0
        return *token_example(model.config.vocab_size, lengths), pictures

    free = {"input_ids": (1,), "attention_mask": (1,), "image_embeds": ()}
    return Graph(model, free, ("prompt_embeds", "prompt_mask"), (example([9, 5]), example([3]), example([1, 20, 7])))


def add_told_encoders(folder: PipelineFolder, bundle: BundleWriter, stride: int) -> None:
    """Writes Llava's two halves. Raises ExportError."""
    ids = template_ids(folder, DEFAULT_PROMPT_TEMPLATE["template"], DEFAULT_PROMPT_TEMPLATE["crop_start"])
    model = folder.load("text_encoder", LlavaForConditionalGeneration)
    processor = read(folder.path / "image_processor", CLIPImageProcessor)
    check_processor(folder, processor)
    check_llava(folder, model, *ids)
    llama = model.model.language_model
    encoder = PictureEncoder(model, processor).eval()
    del model
    bundle.add_graph("image_encoder/model.onnx", picture_graph(encoder))
    side = processor.crop_size["height"]
    black = encoder(torch.full((1, 3, side, side), -1.0))
    del encoder
    bundle.add_graph("text_encoder/model.onnx", told_encoder_graph(llama, *ids, black, stride))


def check_llava(folder: PipelineFolder, model: LlavaForConditionalGeneration, before: list[int], after: list[int]) -> None:
    config, vision = model.config, model.config.vision_config
    tokens = (vision.image_size // vision.patch_size) ** 2
    if config.vision_feature_layer != -2 or config.vision_feature_select_strategy != "default" or tokens != PICTURE_TOKENS:
        raise ExportError(
            f"Expected text_encoder of {folder.path} to see a picture as {PICTURE_TOKENS} patches by CLIP's last but one layer, got "
            f"{tokens} by layer {config.vision_feature_layer} ({config.vision_feature_select_strategy})."
        )
    if before[PICTURE_START] != config.image_token_index or len(after) != TOKENS_AFTER:
        raise ExportError(
            f"Expected the tokenizer of {folder.path} to make the picture's token at place {PICTURE_START} of the instructions and "
            f"{TOKENS_AFTER} tokens after a prompt, got {before[PICTURE_START]} there and {len(after)}."
        )
