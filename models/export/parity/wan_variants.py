"""The Wan pipelines beside the plain one, at toy widths: from pictures, with two transformers, with expanded timesteps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, WanImageToVideoPipeline, WanPipeline
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

from .goldens import Goldens, moving_clip
from .random_weights import randomise
from .wan import LATENT_CHANNELS, NAMES, add_vae, make_scheduler, make_text_encoder, make_tokenizer, make_transformer, make_vae

PICTURE_CHANNELS = 2 * LATENT_CHANNELS + 4
PICTURE_WIDTH = 16
PICTURE_SIDE = 30
PICTURE_PATCH = 10
BOUNDARY = 0.875


@dataclass(frozen=True)
class Family:
    make: Callable[[], DiffusionPipeline]
    # Name, width, height and options of reelspace of each run, beyond what all share; "first" and "last" stand for the two pictures.
    runs: tuple[tuple[str, int, int, dict[str, Any]], ...]
    has_own_vae: bool = False

    def save_pipeline(self, folder: Path) -> DiffusionPipeline:
        """Writes the folder as diffusers lays it out, with a model card, and returns the pipeline that it holds."""
        torch.set_num_threads(1)
        pipeline = self.make()
        pipeline.save_pretrained(folder)
        (folder / "README.md").write_text("---\nlicense: mit\n---\nRandom weights at toy widths, for tests.\n")
        return type(pipeline).from_pretrained(folder)

    def write_goldens(self, pipeline: DiffusionPipeline, path: Path) -> None:
        goldens = Goldens()
        for name, width, height, given in self.runs:
            options = {"width": width, "height": height, "numFrames": 9, "steps": 4, "seed": 7, "guidanceScale": 5, **given}
            run, kind = pipeline, "generate"
            asked = {ours: options[theirs] for theirs, ours in NAMES.items() if theirs in options}
            if "input" in options:
                kind = "animate"
                if isinstance(pipeline, WanPipeline):
                    config = {key: pipeline.config[key] for key in ("expand_timesteps", "boundary_ratio")}
                    run = WanImageToVideoPipeline(**pipeline.components, **config)
                for option, argument, picture in (("input", "image", 0), ("last", "last_image", -1)):
                    if option in options:
                        file = path.with_name(f"{path.stem}-{width}x{height}-{options[option]}.png")
                        options[option] = file.name if option == "input" else f"@/{file.name}"
                        asked[argument] = save_picture(moving_clip(5, height, width)[:, :, picture], file)
            run.set_progress_bar_config(disable=True)
            results = [
                run(**asked, generator=torch.Generator().manual_seed(options["seed"]), max_sequence_length=512, output_type=made).frames
                for made in ("latent", "np")
            ]
            goldens.add_run(name, kind, options, results[0], results[1][0])
        if self.has_own_vae:
            add_vae(goldens, pipeline.vae, moving_clip(9, 32, 64))
        goldens.save(path)


def save_picture(pixels: Tensor, path: Path) -> Image.Image:
    """Writes [1,3,H,W] in [-1,1] of whole grey levels."""
    picture = Image.fromarray(((pixels[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy())
    picture.save(path)
    return picture


def shared(**vae: Any) -> dict[str, Any]:
    tokenizer = make_tokenizer()
    return {
        "tokenizer": tokenizer,
        "text_encoder": make_text_encoder(tokenizer),
        "vae": make_vae(**vae),
        "scheduler": make_scheduler(),
    }


def picture_encoder() -> dict[str, Any]:
    config = CLIPVisionConfig(
        hidden_size=PICTURE_WIDTH, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        image_size=PICTURE_SIDE, patch_size=PICTURE_PATCH,
    )  # fmt: skip
    sides = {"size": {"shortest_edge": PICTURE_SIDE}, "crop_size": {"height": PICTURE_SIDE, "width": PICTURE_SIDE}}
    return {"image_encoder": randomise(CLIPVisionModel(config), 4), "image_processor": CLIPImageProcessor(**sides)}


def from_picture(**config: Any) -> WanImageToVideoPipeline:
    """Wan 2.1's: told of pictures by channels and by what CLIP sees in them."""
    transformer = make_transformer(
        in_channels=PICTURE_CHANNELS, image_dim=PICTURE_WIDTH, added_kv_proj_dim=24, **config
    )
    return WanImageToVideoPipeline(**shared(), **picture_encoder(), transformer=transformer)


def between_pictures() -> WanImageToVideoPipeline:
    tokens = (PICTURE_SIDE // PICTURE_PATCH) ** 2 + 1
    return from_picture(pos_embed_seq_len=2 * tokens)


def two_transformers() -> WanPipeline:
    return WanPipeline(**shared(), transformer=make_transformer(), transformer_2=make_transformer(5), boundary_ratio=BOUNDARY)


def two_from_pictures() -> WanImageToVideoPipeline:
    transformers = {
        name: make_transformer(seed, in_channels=PICTURE_CHANNELS) for name, seed in (("transformer", 2), ("transformer_2", 5))
    }
    return WanImageToVideoPipeline(**shared(), **transformers, boundary_ratio=BOUNDARY)


def expanded_timesteps() -> WanPipeline:
    channels = 6
    vae = {
        "z_dim": channels, "latents_mean": [-0.7, 0.4, 0.1, -0.2, 0.3, 0.0], "latents_std": [2.8, 1.4, 0.7, 1.1, 0.9, 1.2],
        "is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12, "scale_factor_spatial": 16,
    }  # fmt: skip
    transformer = make_transformer(in_channels=channels, out_channels=channels)
    return WanPipeline(**shared(**vae), transformer=transformer, transformer_2=None, expand_timesteps=True)


FAMILIES = {
    "tiny-wan-i2v": Family(
        from_picture,
        (
            ("animate", 32, 48, {"prompt": "a cat runs", "input": "first"}),
            ("animate-negative", 80, 32, {"prompt": "a red fox", "input": "first", "negativePrompt": "blurry", "numFrames": 5}),
            ("animate-unguided", 32, 48, {"prompt": "a dog", "input": "first", "guidanceScale": 1, "numFrames": 1}),
        ),
    ),
    "tiny-wan-flf": Family(
        between_pictures,
        (
            ("lead", 48, 32, {"prompt": "a cat runs", "input": "first", "last": "last", "negativePrompt": "blurry"}),
            ("lead-unguided", 48, 32, {"prompt": "a dog", "input": "first", "last": "last", "guidanceScale": 1, "numFrames": 5}),
        ),
    ),
    "tiny-wan-two": Family(
        two_transformers,
        (
            ("generate", 48, 32, {"prompt": "a cat on the beach", "guidanceScale": 4, "guidanceScale2": 3}),
            ("generate-one-guidance", 32, 32, {"prompt": "a dog", "negativePrompt": "blurry", "numFrames": 5}),
            ("generate-unguided", 32, 48, {"prompt": "a red fox", "guidanceScale": 1, "numFrames": 5}),
        ),
    ),
    "tiny-wan-two-i2v": Family(
        two_from_pictures,
        (
            ("animate", 48, 32, {"prompt": "a cat runs", "input": "first", "guidanceScale": 4, "guidanceScale2": 2}),
            ("lead", 48, 32, {"prompt": "a dog", "input": "first", "last": "last", "negativePrompt": "blurry"}),
        ),
    ),
    "tiny-wan-tokens": Family(
        expanded_timesteps,
        (
            ("generate", 32, 64, {"prompt": "a cat on the beach", "negativePrompt": "blurry"}),
            ("animate", 64, 32, {"prompt": "a cat runs", "input": "first"}),
            ("animate-unguided", 64, 32, {"prompt": "a dog", "input": "first", "guidanceScale": 1, "numFrames": 5}),
        ),
        has_own_vae=True,
    ),
}
