"""A Stable Diffusion XL pipeline at toy widths, with the scheduler of its Turbo models."""

from __future__ import annotations

from pathlib import Path

from diffusers import (
    EulerAncestralDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from .random_weights import randomise
from .stable_diffusion import MASK, MAX_TOKENS, TEXT_WIDTH, PictureGoldens, make_text_encoder, make_tokenizer, make_unet, make_vae, save

PARTS = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2", "unet", "vae", "scheduler")


def save_pipeline(folder: Path) -> StableDiffusionXLPipeline:
    tokenizer, tokenizer_2 = make_tokenizer(), make_tokenizer(pad_token="!")
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=MAX_TOKENS, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        projection_dim=12, hidden_act="gelu",
    )  # fmt: skip
    pipeline = StableDiffusionXLPipeline(
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        text_encoder=make_text_encoder(tokenizer, seed=31),
        text_encoder_2=randomise(CLIPTextModelWithProjection(config), 32),
        unet=make_unet(
            33, cross_attention_dim=TEXT_WIDTH + 24, addition_embed_type="text_time", addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=12 + 6 * 4, use_linear_projection=True,
        ),
        vae=make_vae(),
        scheduler=EulerAncestralDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="trailing",
        ),
        add_watermarker=False,
    )  # fmt: skip
    return save(pipeline, folder)


def write_goldens(pipeline: StableDiffusionXLPipeline, path: Path) -> None:
    parts = {name: pipeline.components[name] for name in PARTS}
    restyling = StableDiffusionXLImg2ImgPipeline(**parts, add_watermarker=False)
    inpainting = StableDiffusionXLInpaintPipeline(**parts, add_watermarker=False)
    goldens = PictureGoldens(path)
    source = {"input": path.with_suffix(".png").name, "prompt": "a red cat"}
    for steps in (1, 2, 4):
        goldens.add(f"turbo-{steps}", pipeline, {"prompt": "a red cat", "steps": steps, "guidanceScale": 0})
    goldens.add("turbo-restyle", restyling, {**source, "steps": 2, "strength": 0.5, "guidanceScale": 0})
    for name in ("euler", "ddim", "dpm++"):
        goldens.add(f"generate-{name}", pipeline, {"prompt": "the dog on the beach", "scheduler": name})
    goldens.add("generate-negative", pipeline, {"prompt": "a red cat", "negativePrompt": "the dog", "scheduler": "euler", "width": 40, "height": 72})
    goldens.add("restyle", restyling, {**source, "strength": 0.6, "scheduler": "euler"})
    for strength in (0.6, 1):
        goldens.add(f"inpaint-{strength}", inpainting, {**source, "mask": ",".join(map(str, MASK)), "strength": strength, "scheduler": "euler"})
    goldens.save_all()
