"""An AnimateDiff pipeline at toy widths."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AnimateDiffPipeline, AnimateDiffVideoToVideoPipeline, DDIMScheduler, MotionAdapter, UNetMotionModel

from .goldens import Goldens, moving_clip, pictures, write_video
from .random_weights import randomise
from .stable_diffusion import NAMES, SCHEDULERS, TEXT_WIDTH, make_text_encoder, make_tokenizer, make_vae, save

PARTS = ("tokenizer", "text_encoder", "unet", "motion_adapter", "vae", "scheduler")
SIZE = {"width": 48, "height": 32}


def save_pipeline(folder: Path) -> AnimateDiffPipeline:
    tokenizer = make_tokenizer()
    motion = {"motion_num_attention_heads": 2, "motion_max_seq_length": 16}
    unet = UNetMotionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=TEXT_WIDTH, num_attention_heads=2,
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"), up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"),
        norm_num_groups=4, **motion,
    )  # fmt: skip
    # The UNet holds the motion modules; the adapter that they came from is not read.
    adapter = MotionAdapter(
        block_out_channels=(8, 16), motion_layers_per_block=1, motion_num_attention_heads=2, motion_norm_num_groups=4,
        motion_max_seq_length=16,
    )  # fmt: skip
    pipeline = AnimateDiffPipeline(
        tokenizer=tokenizer,
        text_encoder=make_text_encoder(tokenizer, seed=51),
        unet=randomise(unet, 52),
        motion_adapter=adapter,
        vae=make_vae(),
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="linear", timestep_spacing="linspace", steps_offset=1, clip_sample=False,
        ),
    )  # fmt: skip
    return save(pipeline, folder)


def write_goldens(pipeline: AnimateDiffPipeline, path: Path) -> None:
    restyling = AnimateDiffVideoToVideoPipeline(**{name: pipeline.components[name] for name in PARTS})
    restyling.set_progress_bar_config(disable=True)
    source = moving_clip(5, SIZE["height"], SIZE["width"])
    source_path = path.with_suffix(".mkv")
    write_video(source, source_path, 8)
    goldens = Goldens()

    def add(name: str, prompt: str, **options) -> None:
        """`options` are those of reelspace, beyond what all cases share."""
        options = {"prompt": prompt, **SIZE, "steps": 4, "seed": 7, "guidanceScale": 5, **options}
        names = {**NAMES, "numFrames": "num_frames"}
        asked = {names[ours]: value for ours, value in options.items() if ours in names}
        run = pipeline
        if "input" in options:
            run, asked["video"] = restyling, pictures(source)
        scheduler = run.scheduler
        if "scheduler" in options:
            run.scheduler = SCHEDULERS[options["scheduler"]].from_config(scheduler.config, skip_prk_steps=True)
        results = [
            run(**asked, generator=torch.Generator().manual_seed(options["seed"]), output_type=kind).frames for kind in ("latent", "np")
        ]
        run.scheduler = scheduler
        goldens.add_run(name, "restyle" if "input" in options else "generate", options, results[0], results[1][0])

    add("generate", "a red cat on the beach", numFrames=6)
    add("generate-whole-window", "the dog", numFrames=16, steps=2)
    add("generate-unguided", "the dog", numFrames=3, guidanceScale=1, width=40, height=56)
    add("generate-negative", "a red cat", numFrames=4, negativePrompt="the dog")
    for scheduler in ("euler", "euler-a", "dpm++"):
        add(f"generate-{scheduler}", "a red cat", numFrames=3, scheduler=scheduler)
    for strength in (0.3, 0.8, 1):
        add(f"restyle-{strength}", "a red cat", input=source_path.name, strength=strength)
    goldens.save(path)
