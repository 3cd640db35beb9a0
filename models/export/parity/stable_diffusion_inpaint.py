"""A Stable Diffusion pipeline at toy widths whose UNet is shown the picture around the mask."""

from __future__ import annotations

from pathlib import Path

from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline

from .stable_diffusion import MASK, NARROW, PictureGoldens, make_text_encoder, make_tokenizer, make_unet, make_vae, save


def save_pipeline(folder: Path) -> StableDiffusionInpaintPipeline:
    tokenizer = make_tokenizer()
    pipeline = StableDiffusionInpaintPipeline(
        tokenizer=tokenizer,
        text_encoder=make_text_encoder(tokenizer),
        unet=make_unet(22, **NARROW, in_channels=9),
        vae=make_vae(),
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, set_alpha_to_one=False,
            clip_sample=False,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    return save(pipeline, folder)


def write_goldens(pipeline: StableDiffusionInpaintPipeline, path: Path) -> None:
    goldens = PictureGoldens(path)
    asked = {"input": path.with_suffix(".png").name, "mask": ",".join(map(str, MASK)), "prompt": "a red cat"}
    for strength in (0.3, 0.75, 1):
        goldens.add(f"inpaint-{strength}", pipeline, {**asked, "strength": strength})
    for name in ("euler-a", "pndm", "dpm++"):
        goldens.add(f"inpaint-{name}", pipeline, {**asked, "strength": 1, "scheduler": name})
    goldens.add("inpaint-unguided", pipeline, {**asked, "strength": 0.8, "guidanceScale": 1, "negativePrompt": "the dog"})
    goldens.save_all()
