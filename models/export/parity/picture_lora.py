"""LoRAs for toy picture pipelines, convolutions and text encoders too, and what diffusers makes with them merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..families.sgm_names import sgm_names
from .lora import fused, lora_options, random_layers
from .stable_diffusion import PictureGoldens

Layers = dict[str, tuple[Tensor, Tensor]]


def write_files(pipeline: Any, folder: Path) -> None:
    """kohya.safetensors and peft.safetensors; of pipelines with two text encoders the first names the UNet's modules as its authors do, and
    both are float16."""
    folder.mkdir(parents=True, exist_ok=True)
    encoders = [name for name in ("text_encoder", "text_encoder_2") if hasattr(pipeline, name)]
    text = {name: text_layers(pipeline.components[name], seed) for seed, name in enumerate(encoders, 2)}
    unet = random_layers(pipeline.unet, 1)
    prefixes = ("lora_te1_", "lora_te2_") if len(encoders) == 2 else ("lora_te_",)
    if len(encoders) == 2:
        unet = by_authors_names(unet, sgm_names(pipeline.unet.config))

    def save(file: str, tensors: dict[str, Tensor]) -> None:
        dtype = torch.float16 if len(encoders) == 2 else torch.float32
        save_file({key: value.contiguous().to(dtype) for key, value in tensors.items()}, folder / f"{file}.safetensors")

    kohya = {}
    for prefix, layers in zip(("lora_unet_", *prefixes), (unet, *text.values()), strict=True):
        for name, pair in layers.items():
            module = prefix + name.replace(".", "_")
            kohya |= {f"{module}.{half}.weight": x for half, x in zip(("lora_down", "lora_up"), pair, strict=True)}
            kohya[f"{module}.alpha"] = torch.tensor(2.0)
    save("kohya", kohya)
    save("peft", {
        f"{component}.{name}.lora_{half}.weight": x
        for component, layers in {"unet": random_layers(pipeline.unet, 4), **text}.items()
        for name, pair in layers.items()
        for half, x in zip("AB", pair, strict=True)
    })  # fmt: skip


def text_layers(encoder: Any, seed: int) -> Layers:
    """Files were made when the modules of every text encoder lay in one more."""
    layers = random_layers(encoder, seed, "_proj")
    return {name if name.startswith("text_model.") else f"text_model.{name}": pair for name, pair in layers.items()}


def by_authors_names(layers: Layers, names: dict[str, str]) -> Layers:
    """Those of the blocks; upsamplers stay out, whose names diffusers 0.42 mistakes where a level has no attention."""
    renamed = {}
    for theirs, ours in names.items():
        if "blocks." not in ours or "upsamplers" in ours:
            continue
        renamed |= {theirs + name[len(ours) :]: pair for name, pair in layers.items() if name == ours or name.startswith(f"{ours}.")}
    return renamed


def write_goldens(pipeline: Any, bundle: str, folder: Path) -> None:
    """Writes what diffusers makes with LoRAs of the folder and the bundle's pipeline."""
    goldens = PictureGoldens(folder.parent / f"{bundle}-loras.safetensors")
    components = [name for name in ("unet", "text_encoder", "text_encoder_2") if hasattr(pipeline, name)]

    def add(name: str, *loras: tuple[str, float]) -> None:
        chosen = {"prompt": "a red cat", "steps": 3, "loras": lora_options(folder, loras)}
        goldens.add(name, fused(pipeline, folder, loras, components), chosen)

    for file in ("kohya", "peft"):
        for scale in (0, 0.5, 1, -1):
            add(f"{file} {scale}", (file, scale))
    add("two", ("kohya", 0.5), ("peft", 0.5))
    add("two, one turned round", ("kohya", -1), ("peft", 1))
    goldens.save(goldens.path, bundle)
