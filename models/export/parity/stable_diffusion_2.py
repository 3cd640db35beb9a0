"""A Stable Diffusion 2.1 pipeline at toy widths: it predicts velocities, and pads prompts with another token."""

from __future__ import annotations

from pathlib import Path

from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionPipeline

from .stable_diffusion import MASK, NARROW, PictureGoldens, make_text_encoder, make_tokenizer, make_unet, make_vae, save


def save_pipeline(folder: Path) -> StableDiffusionPipeline:
    tokenizer = make_tokenizer(pad_token="!")
    pipeline = StableDiffusionPipeline(
        tokenizer=tokenizer,
        text_encoder=make_text_encoder(tokenizer, seed=11, hidden_act="gelu"),
        unet=make_unet(12, **NARROW, use_linear_projection=True, attention_head_dim=(2, 4)),
        vae=make_vae(),
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, set_alpha_to_one=False,
            clip_sample=False, prediction_type="v_prediction",
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    return save(pipeline, folder)


def write_goldens(pipeline: StableDiffusionPipeline, path: Path) -> None:
    parts = dict(pipeline.components)
    restyling = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    inpainting = StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)
    goldens = PictureGoldens(path)
    source = {"input": path.with_suffix(".png").name}
    for name in ("pndm", "ddim", "euler", "euler-a", "dpm++"):
        goldens.add(f"generate-{name}", pipeline, {"prompt": "a red cat", "negativePrompt": "the dog", "scheduler": name})
    goldens.add("generate-unguided", pipeline, {"prompt": "the dog", "guidanceScale": 1, "width": 40, "height": 72})
    goldens.add("restyle", restyling, {**source, "prompt": "a red cat", "strength": 0.6})
    goldens.add("inpaint", inpainting, {**source, "mask": ",".join(map(str, MASK)), "prompt": "the dog", "strength": 1})
    goldens.save_all()
