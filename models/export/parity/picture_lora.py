"""LoRAs for a toy picture pipeline, convolutions and text encoder too, and what diffusers makes with them merged."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import Tensor

from .lora import random_layers
from .stable_diffusion import PictureGoldens


def write_files(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    unet, text_encoder = random_layers(pipeline.unet, 1), random_layers(pipeline.text_encoder, 2, "_proj")
    # Files were made when the text encoder's modules lay in one more.
    text_encoder = {f"text_model.{name}": pair for name, pair in text_encoder.items()}

    def save(file: str, tensors: dict[str, Tensor]) -> None:
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{file}.safetensors")

    halves = zip(("lora_unet_", "lora_te_"), (unet, text_encoder), strict=True)
    kohya = {}
    for prefix, layers in halves:
        for name, pair in layers.items():
            module = prefix + name.replace(".", "_")
            kohya |= {f"{module}.{half}.weight": x for half, x in zip(("lora_down", "lora_up"), pair, strict=True)}
            kohya[f"{module}.alpha"] = torch.tensor(2.0)
    save("kohya", kohya)
    save("peft", {
        f"{component}.{name}.lora_{half}.weight": x
        for component, layers in (("unet", random_layers(pipeline.unet, 3)), ("text_encoder", text_encoder))
        for name, pair in layers.items()
        for half, x in zip("AB", pair, strict=True)
    })  # fmt: skip


def write_goldens(pipeline: StableDiffusionPipeline, bundle: str, folder: Path) -> None:
    """Writes what diffusers makes with LoRAs of the folder and the bundle's pipeline."""
    goldens = PictureGoldens(folder.parent / f"{bundle}-loras.safetensors")

    def add(name: str, *loras: tuple[str, float]) -> None:
        asked = copy.deepcopy(pipeline)
        asked.set_progress_bar_config(disable=True)
        for file, _ in loras:
            asked.load_lora_weights(folder / f"{file}.safetensors", adapter_name=file)
        asked.set_adapters([file for file, _ in loras], [scale for _, scale in loras])
        asked.fuse_lora(components=["unet", "text_encoder"], adapter_names=[file for file, _ in loras])
        asked.unload_lora_weights()
        chosen = [{"path": f"{folder.name}/{file}.safetensors", "scale": scale} for file, scale in loras]
        goldens.add(name, asked, {"prompt": "a red cat", "steps": 3, "loras": chosen})

    add("kohya", ("kohya", 1))
    add("peft", ("peft", -0.5))
    add("two", ("kohya", 0.5), ("peft", 0.5))
    goldens.save(goldens.path, bundle)
