"""A LoRA for LTX-Video's toy pipeline, named as ComfyUI and the authors' trainer name theirs, and what diffusers makes with it merged."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import LTXPipeline
from safetensors.torch import save_file

from .goldens import Goldens
from .lora import fused, lora_options, random_layers
from .ltx import NAMES, SIZE, unpack

RUN = {"prompt": "a red fox", **SIZE, "numFrames": 9, "steps": 3, "seed": 7, "guidanceScale": 3}


def write_files(pipeline: LTXPipeline, folder: Path) -> None:
    """original.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    layers = random_layers(pipeline.transformer, 1)
    tensors = {f"diffusion_model.{name}.lora_{half}.weight": x for name, pair in layers.items() for half, x in zip("AB", pair, strict=True)}
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "original.safetensors")


@torch.no_grad()
def write_goldens(pipeline: LTXPipeline, bundle: str, folder: Path) -> None:
    """Writes what diffusers makes with the LoRA of the folder and the bundle's pipeline."""
    goldens = Goldens()
    arguments = {theirs: RUN[ours] for ours, theirs in NAMES.items() if ours in RUN}
    for scale in (0.5, 1, -1):
        loras = [("original", scale)]
        asked = fused(pipeline, folder, loras)
        latents, frames = (asked(**arguments, generator=torch.Generator().manual_seed(RUN["seed"]), output_type=kind).frames for kind in ("latent", "np"))
        goldens.add_run(f"original {scale}", "generate", {**RUN, "loras": lora_options(folder, loras)}, unpack(pipeline, latents, RUN), frames[0])
    goldens.save(folder.parent / f"{bundle}-loras.safetensors", bundle)
