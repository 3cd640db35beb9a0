"""CogVideoX pipelines at toy widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXImageToVideoPipeline, CogVideoXPipeline, CogVideoXTransformer3DModel,
    CogVideoXVideoToVideoPipeline, DiffusionPipeline,
)  # fmt: skip
from transformers import T5Config, T5EncoderModel

from .goldens import CLIP_NAMES, Goldens, moving_clip, pictures, write_video
from .random_weights import randomise
from .unigram_tokenizer import make_tokenizer

LATENT_CHANNELS = 4
TEXT_WIDTH = 16
MAX_TOKENS = 12
SIZE = {"width": 32, "height": 16}
NAMES = {**CLIP_NAMES, "strength": "strength"}
LEVELS = {"prediction_type": "v_prediction", "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}


def save_pipeline(
    folder: Path, scheduler: Any = None, kind: type[DiffusionPipeline] = CogVideoXPipeline, invert_scale_latents: bool = False,
    **transformer: Any,
) -> DiffusionPipeline:  # fmt: skip
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
        scaling_factor=0.7, invert_scale_latents=invert_scale_latents,
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
    )  # fmt: skip
    randomise(vae, 3)
    # Quieter, so that few colours are clipped.
    vae.decoder.conv_out.conv.weight.mul_(0.15)
    network = randomise(CogVideoXTransformer3DModel(**config), 2)
    if network.config.use_learned_positional_embeddings:
        network.patch_embed.pos_embedding.normal_(generator=torch.Generator().manual_seed(4))
    pipeline = kind(
        tokenizer=tokenizer,
        text_encoder=randomise(text_encoder, 1),
        transformer=network,
        vae=vae,
        scheduler=scheduler or CogVideoXDDIMScheduler(**LEVELS),
    )
    pipeline.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nRandom weights at toy widths, for tests.\n")
    return kind.from_pretrained(folder)


def write_goldens(pipeline: DiffusionPipeline, path: Path, has_vae: bool = True) -> None:
    """Writes what diffusers makes with the pipeline, and beside it the clip or the pictures that some of it starts from; `has_vae` says
    whether also what its VAE makes."""
    config = pipeline.transformer.config
    animates = isinstance(pipeline, CogVideoXImageToVideoPipeline)
    restyles = not animates and config.patch_size_t is None
    restyling = CogVideoXVideoToVideoPipeline(**pipeline.components) if restyles else None
    for run in (pipeline, restyling):
        if run is not None:
            run.set_progress_bar_config(disable=True)
    source = moving_clip(9, SIZE["height"], SIZE["width"])
    source_path = path.with_suffix(".mkv")
    if restyles:
        write_video(source, source_path, 8)
    goldens = Goldens()

    def add(name: str, prompt: str, **options) -> None:
        """`options` are those of reelspace, beyond what all cases share."""
        options = {"prompt": prompt, **SIZE, "steps": 4, "seed": 7, "guidanceScale": 6, **options}
        width, height = options["width"], options["height"]
        asked = {ours: options[theirs] for theirs, ours in NAMES.items() if theirs in options}
        run, workflow = pipeline, "generate"
        if "strength" in options:
            run, workflow, asked["video"] = restyling, "restyle", pictures(source)
        elif animates:
            picture = path.with_name(f"{path.stem}-{width}x{height}.png")
            asked["image"] = pictures(moving_clip(3, height, width))[1]
            asked["image"].save(picture)
            workflow, options["input"] = "animate", picture.name
        results = [
            run(**asked, generator=torch.Generator().manual_seed(options["seed"]), max_sequence_length=MAX_TOKENS, output_type=kind).frames
            for kind in ("latent", "np")
        ]
        latents, frames = results[0].transpose(1, 2), results[1][0]
        # diffusers leaves what it put in front of a clip away only once it decodes.
        filled = latents.shape[2] - ((len(frames) - 1) // pipeline.vae_scale_factor_temporal + 1)
        goldens.add_run(name, workflow, options, latents[:, :, filled:], frames)

    if animates:
        tall = {} if config.use_learned_positional_embeddings else {"width": 16, "height": 48}
        add("animate", "a red fox in the snow", numFrames=9)
        add("animate-unguided", "the dog runs", numFrames=17, guidanceScale=1, **tall)
        add("animate-negative", "a cat on the beach", numFrames=1, guidanceScale=3, negativePrompt="blurry")
    else:
        add("generate", "a cat on the beach", numFrames=9)
        add("generate-unguided", "a red fox", numFrames=17, guidanceScale=1, width=16, height=48)
        add("generate-negative", "the dog runs", numFrames=1, negativePrompt="blurry", guidanceScale=3, width=48)
    if restyles:
        for strength in (0.1, 0.6, 0.8, 1):
            add(f"restyle-{strength}", "a red fox in the snow", input=source_path.name, strength=strength, steps=10 if strength == 0.1 else 5)
        add("restyle-unguided", "the dog runs", input=source_path.name, strength=0.5, guidanceScale=1)
    if has_vae:
        clip = moving_clip(17, 16, 16)
        vae = pipeline.vae
        latents = vae.encode(clip).latent_dist.mode()
        goldens.add_vae(clip, latents * vae.config.scaling_factor, vae.decode(latents).sample)
    goldens.save(path)
