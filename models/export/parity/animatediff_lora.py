"""LoRAs for AnimateDiff's toy pipeline: a motion LoRA, named as those of its authors are on the hub, and one for the pictures' layers."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AnimateDiffPipeline
from safetensors.torch import save_file

from .animatediff import SIZE
from .goldens import Goldens
from .lora import fused, lora_options, random_layers
from .stable_diffusion import NAMES

RUN = {"prompt": "a red cat", **SIZE, "numFrames": 4, "steps": 3, "seed": 7, "guidanceScale": 5}


def write_files(pipeline: AnimateDiffPipeline, folder: Path) -> None:
    """motion.safetensors and style.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    layers = random_layers(pipeline.unet, 1)
    motion, style = {}, {}
    for name, pair in layers.items():
        attention, _, matrix = name.removesuffix(".0").rpartition(".")
        if "motion_modules" in name and matrix in ("to_q", "to_k", "to_v", "to_out"):
            motion |= {f"unet.{attention}.processor.{matrix}_lora.{half}.weight": x for half, x in zip(("down", "up"), pair, strict=True)}
        elif "attentions" in name:
            style |= {f"unet.{name}.lora_{half}.weight": x for half, x in zip("AB", pair, strict=True)}
    for file, tensors in (("motion", motion), ("style", style)):
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{file}.safetensors")


@torch.no_grad()
def write_goldens(pipeline: AnimateDiffPipeline, bundle: str, folder: Path) -> None:
    """Writes what diffusers makes with LoRAs of the folder and the bundle's pipeline."""
    goldens = Goldens()

    def add(name: str, *loras: tuple[str, float]) -> None:
        asked = fused(pipeline, folder, loras, ["unet"])
        names = {**NAMES, "numFrames": "num_frames"}
        arguments = {names[ours]: value for ours, value in RUN.items() if ours in names}
        latents, frames = (
            asked(**arguments, generator=torch.Generator().manual_seed(RUN["seed"]), output_type=kind).frames for kind in ("latent", "np")
        )
        goldens.add_run(name, "generate", {**RUN, "loras": lora_options(folder, loras)}, latents, frames[0])

    for scale in (0.5, 1, -1):
        add(f"motion {scale}", ("motion", scale))
    add("two", ("motion", 0.7), ("style", 0.5))
    goldens.save(folder.parent / f"{bundle}-loras.safetensors", bundle)
