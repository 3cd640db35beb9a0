"""HunyuanVideo's pipelines from pictures at toy widths: with the picture in front of the clip, and as its first frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import HunyuanVideoImageToVideoPipeline
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from .byte_tokenizer import PICTURE
from .goldens import Goldens, moving_clip, pictures
from .hunyuan_video import LATENT_CHANNELS, NAMES, SIZE, make_llama, make_shared, make_transformer, save
from .random_weights import randomise

# As many patches as the pipeline takes a picture to have.
PATCHES, PATCH = 24, 2


def make_llava(tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    llama = make_llama(len(tokenizer), tokenizer.pad_token_id)
    vision = CLIPVisionConfig(
        hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, image_size=PATCHES * PATCH, patch_size=PATCH,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=llama.config, image_token_index=tokenizer.convert_tokens_to_ids(PICTURE),
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    llava = randomise(LlavaForConditionalGeneration(config), 6)
    llava.model.language_model.load_state_dict(llama.state_dict())
    return llava


def make_components(kind: str) -> dict[str, Any]:
    side = PATCHES * PATCH
    shared = make_shared()
    if kind == "latent_concat":
        transformer = make_transformer(in_channels=2 * LATENT_CHANNELS + 1, guidance_embeds=False, image_condition_type=kind)
    else:
        transformer = make_transformer(image_condition_type=kind)
    return {
        **shared,
        "text_encoder": make_llava(shared["tokenizer"]),
        "image_processor": CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side}),
        "transformer": transformer,
    }


@dataclass(frozen=True)
class Family:
    # What the transformer does with the picture.
    kind: str
    # Name and options of reelspace of each run, beyond what all share.
    runs: tuple[tuple[str, dict[str, Any]], ...]

    def save_pipeline(self, folder: Path) -> HunyuanVideoImageToVideoPipeline:
        torch.set_num_threads(1)
        return save(HunyuanVideoImageToVideoPipeline(**make_components(self.kind)), folder)

    def write_goldens(self, pipeline: HunyuanVideoImageToVideoPipeline, path: Path) -> None:
        """Writes what diffusers makes with the pipeline."""
        goldens = Goldens()
        is_beside = self.kind == "latent_concat"
        names = NAMES if pipeline.transformer.config.guidance_embeds else {**NAMES, "guidanceScale": "true_cfg_scale"}
        for name, given in self.runs:
            options = {**SIZE, "steps": 3, "seed": 7, **given}
            picture = pictures(moving_clip(3, options["height"], options["width"]))[1]
            file = path.with_name(f"tiny-hunyuan-video-{options['width']}x{options['height']}.png")
            picture.save(file)
            options["input"] = file.name
            asked = {ours: options[theirs] for theirs, ours in names.items() if theirs in options}
            # diffusers counts the frames of the picture's latent frame, and leaves them out in the end.
            asked["num_frames"] += pipeline.vae_scale_factor_temporal if is_beside else 0
            latents: list[Tensor] = []

            def keep(_pipeline: object, _step: int, _timestep: Tensor, made: dict[str, Tensor], kept: list[Tensor] = latents) -> dict[str, Tensor]:
                kept.append(made["latents"])
                return {}

            generator = torch.Generator().manual_seed(options["seed"])
            frames = pipeline(image=picture, **asked, generator=generator, callback_on_step_end=keep, output_type="np").frames
            goldens.add_run(name, "animate", options, latents[-1], frames[0])
        goldens.save(path)


FAMILIES = {
    "tiny-hunyuan-video-i2v": Family(
        "token_replace",
        (
            ("animate", {"prompt": "A cat runs on the beach.\n\nIt's at night", "numFrames": 9, "guidanceScale": 6}),
            (
                "animate-negative",
                {"prompt": "the dog runs", "negativePrompt": "blurry, red", "trueGuidanceScale": 3, "guidanceScale": 6, "numFrames": 5,
                 "width": 16, "height": 48},
            ),
            ("animate-long", {"prompt": "the red cat and the dog, " * 40, "numFrames": 1, "steps": 2, "guidanceScale": 1}),
        ),
    ),
    "tiny-hunyuan-video-i2v-concat": Family(
        "latent_concat",
        (
            ("animate", {"prompt": "a red fox", "numFrames": 9, "guidanceScale": 1}),
            ("animate-tiled", {"prompt": "", "numFrames": 17, "guidanceScale": 1, "steps": 2, "width": 16}),
            (
                "animate-negative",
                {"prompt": "the dog runs", "negativePrompt": "blurry", "guidanceScale": 3, "numFrames": 5, "width": 16, "height": 48},
            ),
        ),
    ),
}  # fmt: skip
