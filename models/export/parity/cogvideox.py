"""CogVideoX pipelines at toy widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXPipeline, CogVideoXTransformer3DModel, CogVideoXVideoToVideoPipeline,
)  # fmt: skip
from transformers import T5Config, T5EncoderModel

from .goldens import Goldens, moving_clip, pictures, write_video
from .random_weights import randomise
from .unigram_tokenizer import make_tokenizer

LATENT_CHANNELS = 4
TEXT_WIDTH = 16
MAX_TOKENS = 12
SIZE = {"width": 32, "height": 16}
# reelspace's options, and what diffusers calls them.
NAMES = {
    "prompt": "prompt", "negativePrompt": "negative_prompt", "width": "width", "height": "height", "numFrames": "num_frames",
    "steps": "num_inference_steps", "guidanceScale": "guidance_scale", "strength": "strength",
}  # fmt: skip
LEVELS = {"prediction_type": "v_prediction", "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}


def save_pipeline(folder: Path, scheduler: Any = None, **transformer: Any) -> CogVideoXPipeline:
    """Writes the folder as diffusers lays it out, with a model card, and returns the pipeline that it holds."""
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    text_encoder = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer), d_model=TEXT_WIDTH, d_kv=8, d_ff=24, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu",
            relative_attention_num_buckets=8, relative_attention_max_distance=20,
        )
    )  # fmt: skip
    config = {
        "num_attention_heads": 2, "attention_head_dim": 16, "in_channels": LATENT_CHANNELS, "out_channels": LATENT_CHANNELS,
        "time_embed_dim": 8, "text_embed_dim": TEXT_WIDTH, "num_layers": 2, "sample_width": 8, "sample_height": 8, "sample_frames": 9,
        "max_text_seq_length": MAX_TOKENS, **transformer,
    }  # fmt: skip
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(4, 4, 8, 8), latent_channels=LATENT_CHANNELS, layers_per_block=1, norm_num_groups=2,
        scaling_factor=0.7,
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
    )  # fmt: skip
    randomise(vae, 3)
    # Quieter, so that few colours are clipped.
    vae.decoder.conv_out.conv.weight.mul_(0.15)
    pipeline = CogVideoXPipeline(
        tokenizer=tokenizer,
        text_encoder=randomise(text_encoder, 1),
        transformer=randomise(CogVideoXTransformer3DModel(**config), 2),
        vae=vae,
        scheduler=scheduler or CogVideoXDDIMScheduler(**LEVELS),
    )
    pipeline.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nRandom weights at toy widths, for tests.\n")
    return CogVideoXPipeline.from_pretrained(folder)


def write_goldens(pipeline: CogVideoXPipeline, path: Path) -> None:
    """Writes what diffusers makes with the pipeline, and beside it the clip that some of it starts from."""
    restyling = CogVideoXVideoToVideoPipeline(**pipeline.components)
    for run in (pipeline, restyling):
        run.set_progress_bar_config(disable=True)
    source = moving_clip(9, SIZE["height"], SIZE["width"])
    source_path = path.with_suffix(".mkv")
    write_video(source, source_path, 8)
    goldens = Goldens()

    def add(name: str, prompt: str, **options) -> None:
        """`options` are those of reelspace, beyond what all cases share."""
        options = {"prompt": prompt, **SIZE, "steps": 4, "seed": 7, "guidanceScale": 6, **options}
        asked = {ours: options[theirs] for theirs, ours in NAMES.items() if theirs in options}
        run, workflow = pipeline, "generate"
        if "input" in options:
            run, workflow, asked["video"] = restyling, "restyle", pictures(source)
        results = [
            run(**asked, generator=torch.Generator().manual_seed(options["seed"]), max_sequence_length=MAX_TOKENS, output_type=kind).frames
            for kind in ("latent", "np")
        ]
        goldens.add_run(name, workflow, options, results[0].transpose(1, 2), results[1][0])

    add("generate", "a cat on the beach", numFrames=9)
    add("generate-unguided", "a red fox", numFrames=17, guidanceScale=1, width=16, height=48)
    add("generate-negative", "the dog runs", numFrames=1, negativePrompt="blurry", guidanceScale=3, width=48)
    add("restyle", "a red fox in the snow", input=source_path.name, strength=0.6)
    add("restyle-much", "a cat on the beach", input=source_path.name, strength=0.8, steps=5)

    vae = pipeline.vae
    clip = moving_clip(17, 16, 32)
    latents = vae.encode(clip).latent_dist.mode()
    goldens.add_vae(clip, latents * vae.config.scaling_factor, vae.decode(latents).sample)
    goldens.save(path)

