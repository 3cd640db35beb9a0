"""Stable Diffusion pipelines at toy widths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from PIL import Image, ImageDraw
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .goldens import PIPELINE_NAMES, Goldens, moving_clip
from .random_weights import randomise

TEXT_WIDTH = 16
MAX_TOKENS = 77
SIZE = {"width": 48, "height": 32}
# Where a part of a picture is made anew: x, y, width and height, in whole latent positions.
MASK = (8, 8, 24, 16)
# What keeps the UNets of those small that are not the first to use one.
NARROW = {"block_out_channels": (4, 8), "norm_num_groups": 2}
SCHEDULERS = {
    "pndm": PNDMScheduler, "ddim": DDIMScheduler, "euler": EulerDiscreteScheduler, "euler-a": EulerAncestralDiscreteScheduler,
    "dpm++": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler,
}  # fmt: skip
NAMES = {**PIPELINE_NAMES, "strength": "strength"}


def make_tokenizer(pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """CLIP's tokenizer with a few merges: letters, letters that end a word, and pieces of words."""
    # GPT-2's letters for bytes: printable ones stand for themselves, the others are moved up.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    merges = [("t", "h"), ("th", "e</w>"), ("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("r", "e"), ("re", "d</w>"), ("o", "n</w>")]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge) for merge in merges)]
    vocabulary = {word: n for n, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad_token, model_max_length=MAX_TOKENS)


def make_text_encoder(tokenizer: CLIPTokenizer, seed: int = 1, **options: Any) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=TEXT_WIDTH, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=MAX_TOKENS, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, **options,
    )  # fmt: skip
    return randomise(CLIPTextModel(config), seed)


def make_unet(seed: int = 2, **options: Any) -> UNet2DConditionModel:
    options = {
        "sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 1, "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": TEXT_WIDTH, "attention_head_dim": 2, "norm_num_groups": 4, **options,
    }  # fmt: skip
    return randomise(UNet2DConditionModel(**options), seed)


def make_vae() -> AutoencoderKL:
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=(4, 4, 8, 8),
        layers_per_block=1, latent_channels=4, norm_num_groups=2, sample_size=64, scaling_factor=0.18215,
    )  # fmt: skip
    return randomise(vae, 3)


def make_pipeline() -> StableDiffusionPipeline:
    tokenizer = make_tokenizer()
    return StableDiffusionPipeline(
        tokenizer=tokenizer,
        text_encoder=make_text_encoder(tokenizer),
        unet=make_unet(),
        vae=make_vae(),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def save(pipeline: Any, folder: Path) -> Any:
    """Writes the folder as diffusers lays it out, with a model card, and returns the pipeline that it holds."""
    torch.set_num_threads(1)
    pipeline.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nRandom weights at toy widths, for tests.\n")
    config = folder / "scheduler" / "scheduler_config.json"
    # Files of this family carry it for DDIM, also where another class is named.
    config.write_text(json.dumps(json.loads(config.read_text()) | {"clip_sample": False}, indent=2))
    loaded = type(pipeline).from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def save_pipeline(folder: Path) -> StableDiffusionPipeline:
    return save(make_pipeline(), folder)


def as_clip(latents: torch.Tensor) -> torch.Tensor:
    """[N,C,h,w] as [1,C,N,h,w]."""
    return latents.transpose(0, 1)[None]


class PictureGoldens(Goldens):
    """Runs of picture pipelines, beside the picture and the mask that some of them start from."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        pixels = moving_clip(3, SIZE["height"], SIZE["width"])[0, :, 1]
        self.picture = Image.fromarray(((pixels.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy())
        self.mask = Image.new("L", self.picture.size)
        x, y, width, height = MASK
        ImageDraw.Draw(self.mask).rectangle((x, y, x + width - 1, y + height - 1), fill=255)

    def add(self, name: str, run: Any, options: dict[str, Any], **asked: Any) -> None:
        """`options` are those of reelspace, beyond what all cases share; `asked` is what only diffusers is told."""
        options = {**SIZE, "steps": 4, "seed": 7, "guidanceScale": 5, **options}
        asked |= {theirs: options[ours] for ours, theirs in NAMES.items() if ours in options}
        kind = "generate"
        if "input" in options:
            kind = "inpaint" if "mask" in options else "restyle"
            asked["image"] = self.picture
        if kind == "inpaint":
            asked["mask_image"] = self.mask
        if kind == "restyle":
            # They take the picture's own size.
            del asked["width"], asked["height"]
        scheduler = run.scheduler
        if "scheduler" in options:
            # Only PNDM knows the last one; reelspace has no other kind.
            run.scheduler = SCHEDULERS[options["scheduler"]].from_config(scheduler.config, skip_prk_steps=True)
        results = [
            run(**asked, generator=torch.Generator().manual_seed(options["seed"]), output_type=output).images for output in ("latent", "np")
        ]
        run.scheduler = scheduler
        # Outside the mask reelspace puts the picture itself, and lets it fade in over 3 pixels.
        area = tuple(a + b for a, b in zip(MASK, (4, 4, -8, -8), strict=True)) if kind == "inpaint" else None
        self.add_run(name, kind, options, as_clip(results[0]), results[1], area)

    def add_picture_vae(self, vae: AutoencoderKL) -> None:
        clip = moving_clip(3, 32, 48)
        pictures = clip[0].transpose(0, 1)
        scaling = vae.config.scaling_factor
        latents = vae.encode(pictures).latent_dist.mode() * scaling
        self.add_vae(clip, as_clip(latents), as_clip(vae.decode(latents / scaling).sample))

    def save_all(self) -> None:
        self.picture.save(self.path.with_suffix(".png"))
        self.save(self.path)


def add_morph(goldens: PictureGoldens, pipeline: Any) -> None:
    """Pictures of one noise, whose prompt goes from one text to another."""
    options = {**SIZE, "keyframes": ["a red cat", "the dog on the beach"], "ease": "linear", "numFrames": 3, "steps": 3, "seed": 7, "guidanceScale": 5}
    first, last = (pipeline.encode_prompt(text, "cpu", 1, False)[0] for text in options["keyframes"])
    runs = []
    for output in ("latent", "np"):
        pictures = [
            pipeline(
                prompt_embeds=torch.lerp(first, last, share), negative_prompt="", num_inference_steps=options["steps"],
                guidance_scale=options["guidanceScale"], generator=torch.Generator().manual_seed(options["seed"]), output_type=output, **SIZE,
            ).images
            for share in (0.0, 0.5, 1.0)
        ]  # fmt: skip
        runs.append(pictures)
    goldens.add_run("morph", "morph", options, as_clip(torch.cat(runs[0])), np.concatenate(runs[1]))


def write_goldens(pipeline: StableDiffusionPipeline, path: Path) -> None:
    """Writes what diffusers makes with the pipeline."""
    parts = dict(pipeline.components)
    restyling = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    inpainting = StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)
    for one in (restyling, inpainting):
        one.set_progress_bar_config(disable=True)
    goldens = PictureGoldens(path)
    source = {"input": path.with_suffix(".png").name}
    goldens.add("generate", pipeline, {"prompt": "a red cat on the beach"})
    goldens.add("generate-unguided", pipeline, {"prompt": "the dog", "guidanceScale": 1, "width": 40, "height": 72})
    goldens.add("generate-negative", pipeline, {"prompt": "A  Red cat!\n(on the dog's  beach) 12", "negativePrompt": "blurry", "guidanceScale": 3})
    goldens.add("generate-long-prompt", pipeline, {"prompt": "the cat on the red dog " * 20, "steps": 2})
    for name in SCHEDULERS:
        goldens.add(f"generate-{name}", pipeline, {"prompt": "a red cat", "scheduler": name, "steps": 6})
    for strength in (0.1, 0.5, 0.8, 1):
        goldens.add(f"restyle-{strength}", restyling, {**source, "prompt": "a red cat", "strength": strength, "steps": 10})
    for name in ("ddim", "euler-a", "euler"):
        goldens.add(f"restyle-{name}", restyling, {**source, "prompt": "a red cat", "strength": 0.6, "scheduler": name})
    mask = {"mask": ",".join(map(str, MASK))}
    for strength in (0.5, 1):
        goldens.add(f"inpaint-{strength}", inpainting, {**source, **mask, "prompt": "a red cat", "strength": strength, "scheduler": "ddim"})
    goldens.add("inpaint-pndm", inpainting, {**source, **mask, "prompt": "the dog", "strength": 0.75, "guidanceScale": 1})
    add_morph(goldens, pipeline)
    goldens.add_picture_vae(pipeline.vae)
    goldens.save_all()
