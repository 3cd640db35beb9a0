"""Wan's VACE pipeline at toy widths: a clip to go by, a clip a part of which is made over, and pictures to show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import WanVACEPipeline, WanVACETransformer3DModel
from PIL import Image
from torch import Tensor

from .goldens import Goldens, moving_clip, pictures, write_video
from .random_weights import randomise
from .wan import LATENT_CHANNELS, NAMES, TEXT_WIDTH
from .wan_variants import save_picture, shared

WIDTH, HEIGHT = 48, 32
FRAME_RATE = 16


def make_pipeline() -> WanVACEPipeline:
    transformer = WanVACETransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS, text_dim=TEXT_WIDTH, freq_dim=16, ffn_dim=32, num_layers=3, rope_max_seq_len=32,
        vace_layers=[0, 2], vace_in_channels=2 * LATENT_CHANNELS + 64,
    )  # fmt: skip
    return WanVACEPipeline(**shared(), transformer=randomise(transformer, 6), transformer_2=None)


def save_pipeline(folder: Path) -> WanVACEPipeline:
    """Writes the folder as diffusers lays it out, with a model card, and returns the pipeline that it holds."""
    torch.set_num_threads(1)
    make_pipeline().save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nRandom weights at toy widths, for tests.\n")
    return WanVACEPipeline.from_pretrained(folder)


def write_goldens(pipeline: WanVACEPipeline, path: Path) -> None:
    """Writes what diffusers makes with the pipeline, and beside it the clip and the pictures that some of it starts from."""
    pipeline.set_progress_bar_config(disable=True)
    goldens = Goldens()
    clip = moving_clip(9, HEIGHT, WIDTH)
    write_video(clip, path.with_suffix(".mkv"), FRAME_RATE)
    frames = pictures(clip)
    tall, wide = (
        save_picture(moving_clip(2, *size)[:, :, 1], path.with_name(f"{path.stem}-{name}.png"))
        for name, size in (("tall", (40, 24)), ("wide", (20, 70)))
    )
    # A disc that is no multiple of a latent position.
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disc = Image.fromarray((((x - 21) ** 2 + (y - 13) ** 2 < 110) * 255).astype(np.uint8)).convert("RGB")
    disc.save(path.with_name(f"{path.stem}-mask.png"))

    def add(name: str, kind: str, given: dict[str, Any], asked: dict[str, Any], has_frames: bool = True) -> None:
        """`given` are options of reelspace, `asked` arguments of diffusers; without frames reelspace changes them in the end, or latents will do."""
        options = {"width": WIDTH, "height": HEIGHT, "steps": 4, "seed": 7, "guidanceScale": 5, **given}
        asked |= {ours: options[theirs] for theirs, ours in NAMES.items() if theirs in options}
        latents, made = (
            pipeline(**asked, generator=torch.Generator().manual_seed(7), max_sequence_length=512, output_type=kind).frames
            for kind in ("latent", "np")
        )
        lead = latents.shape[2] - (asked["num_frames"] - 1) // 4 - 1
        if kind == "inpaint":
            del options["numFrames"]
        goldens.add_run(name, kind, options, latents[:, :, lead:], made[0] if has_frames else None)

    cat = {"prompt": "a cat on the beach", "numFrames": 9}
    add("generate", "generate", {**cat, "negativePrompt": "blurry"}, {})
    add("control", "generate", {**cat, "control": f"depth=@/{path.stem}.mkv:0.6"}, {"video": frames, "conditioning_scale": 0.6})
    add("control-unguided", "generate", {**cat, "guidanceScale": 1, "control": f"pose=@/{path.stem}.mkv"}, {"video": frames})
    for scale in (0, 0.5):
        asked = {"video": frames, "conditioning_scale": scale}
        add(f"control-{scale}", "generate", {**cat, "control": f"depth=@/{path.stem}.mkv:{scale}"}, asked, has_frames=False)
    with control_within(pipeline, 0.25, 0.75, calls=4):
        asked = {"video": frames, "conditioning_scale": 0.8}
        add("control-within", "generate", {**cat, "control": f"depth=@/{path.stem}.mkv:0.8:0.25:0.75", "guidanceScale": 1}, asked, has_frames=False)
    references = ",".join(f"@/{path.stem}-{name}.png" for name in ("tall", "wide"))
    add("references", "generate", {**cat, "reference": references}, {"reference_images": [tall, wide]})
    part = {"prompt": "a dog", "input": f"{path.stem}.mkv", "mask": f"@/{path.stem}-mask.png", "numFrames": 9}
    add("inpaint", "inpaint", part, {"video": frames, "mask": [disc] * 9}, has_frames=False)
    shown = {**part, "reference": f"@/{path.stem}-tall.png", "negativePrompt": "blurry"}
    masked = {"video": frames, "mask": [disc] * 9, "reference_images": [tall]}
    add("inpaint-reference", "inpaint", shown, masked, has_frames=False)

    # Grey that is exactly half way, which pictures of whole levels can't hold.
    preprocess = pipeline.video_processor.preprocess_video
    pipeline.video_processor.preprocess_video = lambda video, *size: grey_between(preprocess(video, *size)) if video is frames else preprocess(video, *size)
    ends = {"numFrames": 9, "prompt": "a red fox", "input": f"{path.stem}-first.png", "last": f"@/{path.stem}-last.png"}
    for name, at in (("first", 0), ("last", 8)):
        save_picture(clip[:, :, at], path.with_name(f"{path.stem}-{name}.png"))
    white = Image.new("RGB", (WIDTH, HEIGHT), "white")
    black = Image.new("RGB", (WIDTH, HEIGHT), "black")
    add("lead", "animate", ends, {"video": frames, "mask": [black, *[white] * 7, black]})
    goldens.save(path)


@contextmanager
def control_within(pipeline: WanVACEPipeline, start: float, end: float, calls: int) -> Iterator[None]:
    """Lets control count in that share of a run's `calls` alone, as diffusers' ControlNet pipelines do; its VACE pipeline has no such argument."""
    transformer, made = pipeline.transformer, count()

    def forward(*args: Any, control_hidden_states_scale: Tensor, **others: Any) -> Any:
        call = next(made) % calls
        counts = call / calls >= start and (call + 1) / calls <= end
        return type(transformer).forward(transformer, *args, control_hidden_states_scale=control_hidden_states_scale * counts, **others)

    transformer.forward = forward
    try:
        yield
    finally:
        del transformer.forward


def grey_between(pixels: Tensor) -> Tensor:
    """A clip [1,3,T,H,W] of which only the first and the last frame are left."""
    pixels[:, :, 1:-1] = 0
    return pixels
