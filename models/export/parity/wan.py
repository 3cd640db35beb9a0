"""A Wan 2.1 pipeline at toy widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel, WanVideoToVideoPipeline
from torch import Tensor
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from .goldens import CLIP_NAMES, Goldens, moving_clip, pictures, write_video
from .random_weights import randomise
from .unigram_tokenizer import make_tokenizer

COMPONENTS = ("tokenizer", "text_encoder", "transformer", "vae", "scheduler")
LATENT_CHANNELS = 4
TEXT_WIDTH = 16

SIZE = {"width": 32, "height": 48}
NAMES = {**CLIP_NAMES, "guidanceScale2": "guidance_scale_2", "strength": "strength"}


def make_text_encoder(tokenizer: PreTrainedTokenizerFast) -> UMT5EncoderModel:
    config = UMT5Config(
        vocab_size=len(tokenizer), d_model=TEXT_WIDTH, d_kv=8, d_ff=24, num_layers=2, num_heads=2,
        relative_attention_num_buckets=8, relative_attention_max_distance=20,
    )  # fmt: skip
    return randomise(UMT5EncoderModel(config), 1)


def make_transformer(seed: int = 2, **config: Any) -> WanTransformer3DModel:
    given = {"in_channels": LATENT_CHANNELS, "out_channels": LATENT_CHANNELS, **config}
    return randomise(
        WanTransformer3DModel(
            patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, text_dim=TEXT_WIDTH, freq_dim=16, ffn_dim=32,
            num_layers=2, rope_max_seq_len=32, **given,
        ),
        seed,
    )  # fmt: skip


def make_vae(**config: Any) -> AutoencoderKLWan:
    given = {
        "z_dim": LATENT_CHANNELS, "latents_mean": [-0.7, 0.4, 0.1, -0.2], "latents_std": [2.8, 1.4, 0.7, 1.1], "dim_mult": [1, 1, 2, 2], **config,
    }  # fmt: skip
    return randomise(AutoencoderKLWan(base_dim=4, num_res_blocks=1, **given), 3)


def make_scheduler() -> UniPCMultistepScheduler:
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)


def make_pipeline() -> WanPipeline:
    tokenizer = make_tokenizer()
    return WanPipeline(
        tokenizer=tokenizer,
        text_encoder=make_text_encoder(tokenizer),
        transformer=make_transformer(),
        vae=make_vae(),
        scheduler=make_scheduler(),
    )


def save_pipeline(folder: Path) -> WanPipeline:
    """Writes the folder as diffusers lays it out, with a model card, and returns the pipeline that it holds."""
    torch.set_num_threads(1)
    pipeline = make_pipeline()
    pipeline.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nRandom weights at toy widths, for tests.\n")
    return WanPipeline.from_pretrained(folder)


def write_goldens(pipeline: WanPipeline, path: Path) -> None:
    """Writes what diffusers makes with the pipeline, and beside it the clip that some of it starts from."""
    pipeline.set_progress_bar_config(disable=True)
    restyling = WanVideoToVideoPipeline(**{name: pipeline.components[name] for name in COMPONENTS})
    restyling.set_progress_bar_config(disable=True)
    source = moving_clip(9, SIZE["height"], SIZE["width"])
    source_path = path.with_suffix(".mkv")
    write_video(source, source_path, 8)
    goldens = Goldens()

    def add(name: str, prompt: str, **options) -> None:
        """`options` are those of reelspace, beyond what all cases share."""
        options = {"prompt": prompt, **SIZE, "steps": 4, "seed": 7, "guidanceScale": 5, **options}
        asked = {ours: options[theirs] for theirs, ours in NAMES.items() if theirs in options}
        run = pipeline
        if "input" in options:
            run, asked["video"] = restyling, pictures(source)
        # What is asked of both is all that there is; the rest is diffusers' defaults.
        results = [
            run(**asked, generator=torch.Generator().manual_seed(options["seed"]), max_sequence_length=512, output_type=kind).frames
            for kind in ("latent", "np")
        ]
        goldens.add_run(name, "restyle" if "input" in options else "generate", options, results[0], results[1][0])

    add("generate", "a cat on the beach", numFrames=9)
    add("generate-unguided", "a red fox", numFrames=5, guidanceScale=1)
    add("generate-negative", "  the dog\nruns   in snow ", numFrames=5, negativePrompt="blurry", guidanceScale=3)
    add("generate-still", "a red fox", numFrames=1, width=64, height=16)
    add("restyle", "a red fox in the snow", input=source_path.name, strength=0.6)
    for strength in (0.1, 0.3, 0.9):
        add(f"restyle-{strength}", "a dog", input=source_path.name, steps=10, strength=strength, negativePrompt="blurry")

    add_vae(goldens, pipeline.vae, moving_clip(13, 16, 32))
    goldens.save(path)


def add_vae(goldens: Goldens, vae: AutoencoderKLWan, clip: Tensor) -> None:
    mean, std = (torch.tensor(values).view(1, -1, 1, 1, 1) for values in (vae.config.latents_mean, vae.config.latents_std))
    latents = vae.encode(clip).latent_dist.mode()
    goldens.add_vae(clip, (latents - mean) / std, vae.decode(latents).sample)
