"""Runs of diffusers as arrays, each with the options that ask reelspace for the same."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

# reelspace's options, and what diffusers calls them in every pipeline, and in every pipeline of clips.
PIPELINE_NAMES = {
    "prompt": "prompt", "negativePrompt": "negative_prompt", "width": "width", "height": "height", "steps": "num_inference_steps",
    "guidanceScale": "guidance_scale",
}  # fmt: skip
CLIP_NAMES = {**PIPELINE_NAMES, "numFrames": "num_frames"}


class Goldens:
    """Cases of one family. Each is a pipeline of reelspace, its options, and the latents and frames that should come out."""

    def __init__(self) -> None:
        self.arrays: dict[str, Tensor] = {}
        self.cases: list[dict[str, Any]] = []

    def add_run(self, name: str, pipeline: str, options: dict[str, Any], latents: Tensor, frames: np.ndarray | None,
                area: tuple[int, ...] | None = None) -> None:
        """`latents` are [1,C,t,h,w] of unit variance, `frames` [T,H,W,3] in 0 to 1, or None where reelspace has its own way; `area` is x, y, width
        and height of what is compared of them, where that is not all."""
        self.cases.append({"name": name, "pipeline": pipeline, "options": options, **({} if area is None else {"area": area})})
        self.arrays[f"{name}.latents"] = latents.contiguous()
        if frames is None:
            return
        self.arrays[f"{name}.frames"] = torch.from_numpy(np.ascontiguousarray((frames * 255).round(), np.uint8))
        clipped = float(((frames <= 0) | (frames >= 1)).mean())
        print(f"{name}: {frames.shape}, latents up to {float(latents.abs().max()):.1f}, {clipped:.0%} of the colours clipped")

    def add_vae(self, pixels: Tensor, latents: Tensor, decoded: Tensor) -> None:
        """A clip [1,3,T,H,W] of whole grey levels in [-1,1], its latents of unit variance, and what is decoded from them."""
        self.arrays |= {"vae.levels": grey_levels(pixels), "vae.latents": latents.contiguous(), "vae.decoded": decoded.contiguous()}

    def save(self, path: Path, bundle: str | None = None) -> None:
        """`bundle` is the folder beside it that runs, where that has another name."""
        save_file(self.arrays, path, {"cases": json.dumps(self.cases), "bundle": bundle or path.stem})


def moving_clip(frames: int, height: int, width: int) -> Tensor:
    """[1,3,T,H,W] in [-1,1]: a soft edge that sweeps over colours, of whole grey levels."""
    t, y, x = torch.meshgrid(torch.linspace(0, 1, frames), torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    rgb = torch.stack([torch.sigmoid(9 * (x - t)), y, (t + x * y) / 2])
    return ((rgb * 255).round() / 127.5 - 1)[None]


def grey_levels(pixels: Tensor) -> Tensor:
    """Values in [-1,1] as bytes."""
    return ((pixels + 1) * 127.5).round().byte()


def pictures(clip: Tensor) -> list[Image.Image]:
    """The frames of [1,3,T,H,W]."""
    return [Image.fromarray(frame) for frame in grey_levels(clip[0].permute(1, 2, 3, 0)).numpy()]


def write_video(clip: Tensor, path: Path, frame_rate: int) -> None:
    """Writes [1,3,T,H,W] without loss."""
    frames = grey_levels(clip[0].permute(1, 2, 3, 0))
    _, height, width, _ = frames.shape
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(frame_rate), "-i", "-"]
    command = ["ffmpeg", "-y", "-v", "error", *source, "-c:v", "ffv1", "-pix_fmt", "bgr0", "-bitexact", str(path)]
    subprocess.run(command, input=frames.numpy().tobytes(), check=True)
