"""A latent consistency model at toy widths: it is told the guidance scale, and makes pictures in a few steps."""

from __future__ import annotations

from pathlib import Path

from diffusers import LatentConsistencyModelPipeline, LCMScheduler

from .stable_diffusion import NARROW, PictureGoldens, make_text_encoder, make_tokenizer, make_unet, make_vae, save


def save_pipeline(folder: Path) -> LatentConsistencyModelPipeline:
    tokenizer = make_tokenizer()
    pipeline = LatentConsistencyModelPipeline(
        tokenizer=tokenizer,
        text_encoder=make_text_encoder(tokenizer),
        unet=make_unet(42, **NARROW, time_cond_proj_dim=9),
        vae=make_vae(),
        scheduler=LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return save(pipeline, folder)


def write_goldens(pipeline: LatentConsistencyModelPipeline, path: Path) -> None:
    goldens = PictureGoldens(path)
    for steps, scale in ((1, 8.5), (4, 8.5), (4, 1), (8, 3)):
        goldens.add(f"generate-{steps}-{scale}", pipeline, {"prompt": "a red cat", "steps": steps, "guidanceScale": scale})
    goldens.add("generate-tall", pipeline, {"prompt": "the dog", "width": 40, "height": 72})
    goldens.save_all()
