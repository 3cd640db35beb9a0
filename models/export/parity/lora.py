"""LoRAs for a toy pipeline, in every way in which files name their tensors, and what diffusers makes with them merged."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline
from safetensors.torch import save_file
from torch import Tensor, nn

from ..families.wan import OTHER_NAMES
from .goldens import Goldens

Loras = Sequence[tuple[str, float]]  # names of files without their ending, and scales

RANK = 3
TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
FILES = ("peft", "original", "original-alpha", "kohya")
RUN = {"prompt": "a red fox", "width": 32, "height": 16, "numFrames": 5, "steps": 3, "seed": 5, "guidanceScale": 3}


def random_layers(network: nn.Module, seed: int, ending: str = "") -> dict[str, tuple[Tensor, Tensor]]:
    """Both halves for every matrix and convolution whose name ends so: together about a third of the weight."""
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d) and name.endswith(ending):
            rows, *columns = module.weight.shape
            ones = [1] * (len(columns) - 1)
            down = torch.randn(RANK, *columns, generator=generator) * module.weight.std()
            up = torch.randn(rows, RANK, *ones, generator=generator) * 0.33 / RANK**0.5
            layers[name] = (down, up)
    return layers


def authors_name(name: str) -> str | None:
    """The name that the model's authors have for a module, or None."""
    number = (*name.split("."), "")[1]
    return next((theirs.replace("{n}", number) for theirs, ours in OTHER_NAMES.items() if name == ours.replace("{n}", number)), None)


def write_files(transformer: nn.Module, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Writes FILES, in that type if there is one: diffusers takes weights of 16 bits and files of others for wrong at times."""
    folder.mkdir(parents=True, exist_ok=True)

    def save(file: str, tensors: dict[str, Tensor]) -> None:
        save_file({key: value.contiguous().to(dtype or value.dtype) for key, value in tensors.items()}, folder / f"{file}.safetensors")

    first, second = random_layers(transformer, 1), random_layers(transformer, 2)
    def peft_keys(prefix: str, layers: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        return {f"{prefix}{name}.lora_{half}.weight": x for name, pair in layers.items() for half, x in zip("AB", pair, strict=True)}

    save("peft", peft_keys("transformer.", first))

    theirs = {theirs: pair for name, pair in second.items() if (theirs := authors_name(name)) is not None}
    original = peft_keys("diffusion_model.", theirs)
    if dtype is None:
        # Some files add to biases, which stay float32 in bundles.
        original["diffusion_model.blocks.1.ffn.0.diff_b"] = torch.randn(32, generator=torch.Generator().manual_seed(3)) * 0.2
    save("original", original)

    blocks = {name: pair for name, pair in theirs.items() if name.startswith("blocks.")}
    halves = ("lora_down", "lora_up")

    def with_alpha(prefix: str, write, names: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        tensors = {}
        for name, pair in names.items():
            tensors |= {f"{prefix}{write(name)}.{half}.weight": x.half() for half, x in zip(halves, pair, strict=True)}
            tensors[f"{prefix}{write(name)}.alpha"] = torch.tensor(1.5)
        return tensors

    save("original-alpha", with_alpha("diffusion_model.", str, blocks))
    save("kohya", with_alpha("lora_unet_", lambda name: name.replace(".", "_"), blocks))


def matrices(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.ndim >= 2}


def fuse(pipeline: Any, folder: Path, loras: Loras, components: Sequence[str] = ("transformer",)) -> None:
    """Adds LoRAs of the folder to the weights of the components, in the type that those have, as diffusers does."""
    names = [file for file, _ in loras]
    for file in names:
        pipeline.load_lora_weights(folder / f"{file}.safetensors", adapter_name=file)
    pipeline.set_adapters(names, [scale for _, scale in loras])
    pipeline.fuse_lora(components=list(components), adapter_names=names)
    pipeline.unload_lora_weights()


def fused(pipeline: Any, folder: Path, loras: Loras, components: Sequence[str] = ("transformer",)) -> Any:
    """A copy of the pipeline with LoRAs of the folder added."""
    copied = copy.deepcopy(pipeline)
    copied.set_progress_bar_config(disable=True)
    fuse(copied, folder, loras, components)
    return copied


def lora_options(folder: Path, loras: Loras) -> list[dict[str, Any]]:
    """The same LoRAs, as reelspace is asked for them."""
    return [{"path": f"{folder.name}/{file}.safetensors", "scale": scale} for file, scale in loras]


@torch.no_grad()
def write_goldens(pipeline: WanPipeline, bundle: str, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Writes what diffusers makes with LoRAs of the folder and the bundle's pipeline, whose matrices are of that type."""
    if dtype is not None:
        pipeline = copy.deepcopy(pipeline)
        for name in ("text_encoder", "transformer"):
            for parameter in matrices(pipeline.components[name]).values():
                parameter.copy_(parameter.to(dtype))
    goldens = Goldens()

    def add(name: str, *loras: tuple[str, float], has_frames: bool = False) -> None:
        transformer = copy.deepcopy(pipeline.transformer)
        if dtype is not None and loras:
            # What is computed with stays float32, as in the bundle.
            merged = copy.deepcopy(transformer).to(dtype)
            fuse(WanPipeline(**{**pipeline.components, "transformer": merged}), folder, loras)
            for parameter, sum_ in zip(matrices(transformer).values(), matrices(merged).values(), strict=True):
                parameter.copy_(sum_)
        elif loras:
            fuse(WanPipeline(**{**pipeline.components, "transformer": transformer}), folder, loras)
        asked = WanPipeline(**{**pipeline.components, "transformer": transformer})
        asked.set_progress_bar_config(disable=True)
        results = [
            asked(
                prompt=RUN["prompt"], width=RUN["width"], height=RUN["height"], num_frames=RUN["numFrames"],
                num_inference_steps=RUN["steps"], guidance_scale=RUN["guidanceScale"],
                generator=torch.Generator().manual_seed(RUN["seed"]), max_sequence_length=512, output_type=kind,
            ).frames
            for kind in ("latent", *(["np"] if has_frames else []))
        ]  # fmt: skip
        goldens.add_run(name, "generate", {**RUN, "loras": lora_options(folder, loras)}, results[0], results[1][0] if has_frames else None)

    add("none", has_frames=True)
    for file in FILES:
        for scale in (0, 0.5, 1, -1):
            add(f"{file} {scale}", (file, scale), has_frames=scale == 1)
    add("two", ("peft", 0.7), ("original", -0.4), has_frames=True)
    for scale in (0, 0.5, 1, -1):
        add(f"two, the second {scale}", ("kohya", 0.5), ("original-alpha", scale))
    goldens.save(folder.parent / f"{bundle}-loras.safetensors", bundle)
