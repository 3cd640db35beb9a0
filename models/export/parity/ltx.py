"""LTX-Video pipelines at toy widths."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLLTXVideo, DiffusionPipeline, FlowMatchEulerDiscreteScheduler, LTXImageToVideoPipeline, LTXPipeline, LTXVideoTransformer3DModel,
)  # fmt: skip
from torch import Tensor
from transformers import T5Config, T5EncoderModel

from ..families.ltx_vae import DECODE_NOISE, DECODE_TIMESTEP
from .goldens import CLIP_NAMES, Goldens, moving_clip, pictures, write_video
from .random_weights import randomise
from .unigram_tokenizer import make_tokenizer

LATENT_CHANNELS = 8
TEXT_WIDTH = 16
SIZE = {"width": 64, "height": 32}
NAMES = {**CLIP_NAMES, "frameRate": "frame_rate", "guidanceRescale": "guidance_rescale"}


def make_vae(is_finishing: bool, is_newer: bool) -> AutoencoderKLLTXVideo:
    """`is_finishing`: the decoder takes away the last noise, as from 0.9.5 on; `is_newer`: both halves are made as from then on, too."""
    decoder = {"decoder_block_out_channels": (4, 4, 8, 8), "decoder_layers_per_block": (1, 1, 1, 1, 1)}
    if is_finishing:
        decoder = {
            "decoder_block_out_channels": (8, 16, 32) if is_newer else (4, 4, 4), "decoder_layers_per_block": (1, 1, 1, 1),
            "decoder_inject_noise": (False,) * 4, "decoder_spatio_temporal_scaling": (True,) * 3, "upsample_residual": (is_newer,) * 3,
            "upsample_factor": (2 if is_newer else 1,) * 3,
        }  # fmt: skip
    encoder = {"block_out_channels": (4, 4, 8, 8), "layers_per_block": (1, 1, 1, 1, 1)}
    if is_newer:
        encoder = {
            "block_out_channels": (4, 8, 8, 8, 8), "layers_per_block": (1, 1, 1, 1, 1), "down_block_types": ("LTXVideo095DownBlock3D",) * 4,
            "downsample_type": ("spatial", "temporal", "spatiotemporal", "spatiotemporal"), "spatio_temporal_scaling": (True,) * 4,
            "spatial_compression_ratio": 32, "temporal_compression_ratio": 8,
        }  # fmt: skip
    vae = randomise(AutoencoderKLLTXVideo(latent_channels=LATENT_CHANNELS, timestep_conditioning=is_finishing, **encoder, **decoder), 3)
    if is_finishing:
        vae.decoder.timestep_scale_multiplier.fill_(1000.0)
    vae.latents_mean.copy_(torch.linspace(-0.7, 0.5, LATENT_CHANNELS))
    vae.latents_std.copy_(torch.linspace(0.6, 2.1, LATENT_CHANNELS))
    return vae


def make_pipeline(is_finishing: bool, is_newer: bool, kind: type[DiffusionPipeline]) -> DiffusionPipeline:
    tokenizer = make_tokenizer()
    text_encoder = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer), d_model=TEXT_WIDTH, d_kv=8, d_ff=24, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu",
            relative_attention_num_buckets=8, relative_attention_max_distance=20,
        )
    )  # fmt: skip
    transformer = LTXVideoTransformer3DModel(
        in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS, num_attention_heads=2, attention_head_dim=10, num_layers=2,
        cross_attention_dim=20, caption_channels=TEXT_WIDTH,
    )  # fmt: skip
    shift = {} if is_finishing else {
        "use_dynamic_shifting": True, "base_shift": 0.95, "max_shift": 2.05, "base_image_seq_len": 1024, "max_image_seq_len": 4096,
        "shift_terminal": 0.1,
    }  # fmt: skip
    return kind(
        tokenizer=tokenizer,
        text_encoder=randomise(text_encoder, 1),
        transformer=randomise(transformer, 2),
        vae=make_vae(is_finishing, is_newer),
        scheduler=FlowMatchEulerDiscreteScheduler(**shift),
    )


def save_pipeline(
    folder: Path, is_finishing: bool = False, is_newer: bool = False, kind: type[DiffusionPipeline] = LTXPipeline
) -> DiffusionPipeline:
    """Writes the folder as diffusers lays it out, with a model card, and returns the pipeline that it holds."""
    torch.set_num_threads(1)
    make_pipeline(is_finishing, is_newer, kind).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nRandom weights at toy widths, for tests.\n")
    return kind.from_pretrained(folder)


def write_goldens(pipeline: LTXPipeline, path: Path) -> None:
    """Writes what diffusers makes with the pipeline, and beside it the clip that some of it starts from."""
    animating = LTXImageToVideoPipeline(**pipeline.components)
    for run in (pipeline, animating):
        run.set_progress_bar_config(disable=True)
    vae = pipeline.vae
    is_finishing = vae.config.timestep_conditioning
    decoding = {"decode_timestep": DECODE_TIMESTEP, "decode_noise_scale": DECODE_NOISE} if is_finishing else {}
    source = moving_clip(9, SIZE["height"], SIZE["width"])
    source_path = path.with_suffix(".mkv")
    write_video(source, source_path, 8)
    goldens = Goldens()

    def add(name: str, prompt: str, **options) -> None:
        """`options` are those of reelspace, beyond what all cases share."""
        options = {"prompt": prompt, **SIZE, "numFrames": 9, "steps": 4, "seed": 7, "guidanceScale": 3, **options}
        asked = {ours: options[theirs] for theirs, ours in NAMES.items() if theirs in options}
        run = pipeline
        if "input" in options:
            run, asked["image"] = animating, pictures(source)[0]
        results = [
            run(**asked, **decoding, generator=torch.Generator().manual_seed(options["seed"]), output_type=kind).frames
            for kind in ("latent", "np")
        ]
        latents = unpack(pipeline, results[0], options)
        goldens.add_run(name, "animate" if "input" in options else "generate", options, latents, results[1][0])

    add("generate", "a cat on the beach")
    add("animate", "a red fox in the snow", input=source_path.name)
    if not is_finishing:
        add("generate-unguided", "a red fox", guidanceScale=1, frameRate=8)
        add("generate-negative", "  the dog\nruns   in snow ", width=32, numFrames=17, negativePrompt="blurry", guidanceRescale=0.4)
        add("generate-still", "a red fox", numFrames=1, height=96)

    clip = moving_clip(9, 32, 32)
    latents = vae.encode(clip).latent_dist.mode()
    timestep = torch.tensor([DECODE_TIMESTEP]) if is_finishing else None
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)) if is_finishing else 0
    noised = (1 - DECODE_NOISE) * latents + DECODE_NOISE * noise if is_finishing else latents
    shape = (1, -1, 1, 1, 1)
    goldens.add_vae(clip, (latents - vae.latents_mean.view(shape)) / vae.latents_std.view(shape), vae.decode(noised, timestep).sample)
    goldens.save(path)


def unpack(pipeline: LTXPipeline, latents: Tensor, options: dict) -> Tensor:
    """[1,C,t,h,w] of the tokens that the pipeline gives."""
    frames = (options["numFrames"] - 1) // pipeline.vae_temporal_compression_ratio + 1
    scale = pipeline.vae_spatial_compression_ratio
    return latents.transpose(1, 2).unflatten(2, (frames, options["height"] // scale, options["width"] // scale))
