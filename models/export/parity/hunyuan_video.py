"""HunyuanVideo's pipeline from text at toy widths, and what it has in common with those from pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLHunyuanVideo, FlowMatchEulerDiscreteScheduler, HunyuanVideoPipeline, HunyuanVideoTransformer3DModel
from transformers import CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaModel

from .byte_tokenizer import make_byte_tokenizer
from .goldens import CLIP_NAMES, Goldens, moving_clip
from .random_weights import randomise
from .stable_diffusion import make_tokenizer

LATENT_CHANNELS = 4
TEXT_WIDTH = 16
POOLED_WIDTH = 8
SIZE = {"width": 32, "height": 16}
NAMES = {**CLIP_NAMES, "trueGuidanceScale": "true_cfg_scale"}


def make_llama(vocabulary: int, padding: int) -> LlamaModel:
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=TEXT_WIDTH, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, pad_token_id=padding, max_position_embeddings=1024, rope_theta=500000.0,
    )  # fmt: skip
    return randomise(LlamaModel(config), 1)


def make_shared() -> dict[str, Any]:
    """The components that pipelines with and without a picture have in common."""
    tokenizer, tokenizer_2 = make_byte_tokenizer(), make_tokenizer()
    clip = CLIPTextConfig(
        vocab_size=len(tokenizer_2), hidden_size=POOLED_WIDTH, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=77, bos_token_id=tokenizer_2.bos_token_id, eos_token_id=tokenizer_2.eos_token_id,
    )  # fmt: skip
    vae = AutoencoderKLHunyuanVideo(
        block_out_channels=(4, 4, 8, 8), latent_channels=LATENT_CHANNELS, layers_per_block=1, norm_num_groups=2, scaling_factor=0.5,
    )  # fmt: skip
    randomise(vae, 3)
    # Quieter, so that few colours are clipped.
    vae.decoder.conv_out.conv.weight.mul_(0.4)
    return {
        "tokenizer": tokenizer,
        "tokenizer_2": tokenizer_2,
        "text_encoder_2": randomise(CLIPTextModel(clip), 4),
        "vae": vae,
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
    }


def make_transformer(**config: Any) -> HunyuanVideoTransformer3DModel:
    given = {"in_channels": LATENT_CHANNELS, "out_channels": LATENT_CHANNELS, **config}
    return randomise(
        HunyuanVideoTransformer3DModel(
            num_attention_heads=2, attention_head_dim=8, num_layers=1, num_single_layers=1, num_refiner_layers=1, mlp_ratio=2.0,
            text_embed_dim=TEXT_WIDTH, pooled_projection_dim=POOLED_WIDTH, rope_axes_dim=(4, 2, 2), **given,
        ),
        2,
    )  # fmt: skip


def save(pipeline: Any, folder: Path) -> Any:
    """Writes the folder as diffusers lays it out, with a model card, and returns the pipeline that it holds."""
    pipeline.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nRandom weights at toy widths, for tests.\n")
    loaded = type(pipeline).from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def save_pipeline(folder: Path) -> HunyuanVideoPipeline:
    torch.set_num_threads(1)
    shared = make_shared()
    tokenizer = shared["tokenizer"]
    llama = make_llama(len(tokenizer), tokenizer.pad_token_id)
    return save(HunyuanVideoPipeline(**shared, text_encoder=llama, transformer=make_transformer()), folder)


def write_goldens(pipeline: HunyuanVideoPipeline, path: Path) -> None:
    """Writes what diffusers makes with the pipeline."""
    goldens = Goldens()

    def add(name: str, prompt: str, **options) -> None:
        """`options` are those of reelspace, beyond what all cases share."""
        options = {"prompt": prompt, **SIZE, "steps": 3, "seed": 7, "guidanceScale": 6, **options}
        asked = {ours: options[theirs] for theirs, ours in NAMES.items() if theirs in options}
        results = [
            pipeline(**asked, generator=torch.Generator().manual_seed(options["seed"]), output_type=kind).frames for kind in ("latent", "np")
        ]
        goldens.add_run(name, "generate", options, results[0], results[1][0])

    add("generate", "A cat runs on the beach.\n\nIt's 1234 steps from the sea,  at night", numFrames=9)
    add("generate-tiled", "a red fox", numFrames=29, guidanceScale=1, width=16)
    add("generate-negative", "the dog runs", numFrames=17, negativePrompt="blurry, red", trueGuidanceScale=3, width=16, height=48)
    add("generate-still", "", numFrames=1, width=48)
    # The encoders read 256 and 77 tokens of it.
    add("generate-long", "the red cat and the dog, " * 40, numFrames=5, steps=2)

    vae = pipeline.vae
    clip = moving_clip(21, 16, 16)
    latents = vae.encode(clip).latent_dist.mode()
    goldens.add_vae(clip, latents * vae.config.scaling_factor, vae.decode(latents).sample)
    goldens.save(path)
