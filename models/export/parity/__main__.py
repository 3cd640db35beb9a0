"""Writes for each family a bundle of a random toy pipeline, and what diffusers makes with it.

    python -m export.parity [--out FOLDER] [FAMILY ...]

Run from models/. Without --out they are those that the tests compare with, in test/fixtures/families,
where each graph is kept once for all bundles.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import DiffusionPipeline

from ..__main__ import Choices, export_pipeline
from ..loop import join_into_loop
from . import (
    animatediff,
    animatediff_control,
    animatediff_long,
    animatediff_lora,
    cogvideox,
    cogvideox_variants,
    hunyuan_video,
    hunyuan_video_picture,
    latent_consistency,
    lora,
    ltx,
    ltx_condition,
    ltx_lora,
    ltx_newer,
    picture_lora,
    stable_diffusion,
    stable_diffusion_2,
    stable_diffusion_control,
    stable_diffusion_inpaint,
    stable_diffusion_xl,
    wan,
    wan_vace,
    wan_variants,
    weighted_prompts,
)
from .fixtures import FIXTURES, share_graphs

FAMILIES = {
    "tiny-animatediff": animatediff,
    "tiny-cogvideox": cogvideox,
    **cogvideox_variants.FAMILIES,
    "tiny-hunyuan-video": hunyuan_video,
    **hunyuan_video_picture.FAMILIES,
    "tiny-lcm": latent_consistency,
    "tiny-ltx": ltx,
    "tiny-ltx-condition": ltx_condition,
    "tiny-ltx-0.9.5": ltx_newer,
    "tiny-sd": stable_diffusion,
    "tiny-sd2": stable_diffusion_2,
    "tiny-sd-inpaint": stable_diffusion_inpaint,
    "tiny-sdxl": stable_diffusion_xl,
    "tiny-wan": wan,
    **wan_variants.FAMILIES,
    "tiny-wan-vace": wan_vace,
}
# Those with ControlNets, and what writes the runs under them.
CONTROLLED = {"tiny-animatediff": animatediff_control, "tiny-sd": stable_diffusion_control}
# Those with runs of weighted prompts.
WEIGHTED = ("tiny-sd", "tiny-sdxl")
# Made only when asked for, or elsewhere than in the tests' folder: others hold what they do.
ON_DEMAND = ("tiny-cogvideox-1.5", "tiny-ltx-0.9.5", "tiny-wan-two")
# The VAE of one, as one graph a half that runs through a clip, and the frames that it takes at a time.
LOOPED = ("tiny-wan-i2v", "tiny-wan-loop")
LOOP_FRAMES = {"vae_encoder": 4, "vae_decoder": 1}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m export.parity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", choices=[[], *FAMILIES], help="default: all")
    parser.add_argument("--out", type=Path, default=FIXTURES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    default = [name for name in FAMILIES if options.out != FIXTURES or name not in ON_DEMAND]
    for name in options.families or default:
        family = FAMILIES[name]
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / name
            pipeline = family.save_pipeline(folder)
            shutil.rmtree(options.out / name, ignore_errors=True)
            nets = stable_diffusion_control.save_nets(Path(scratch) / "nets") if name in CONTROLLED else ()
            export_pipeline(folder, options.out / name, Choices(source="models/export/parity", control_nets=nets))
            if name in LORAS:
                LORAS[name](pipeline, folder, name, options.out)
        family.write_goldens(pipeline, options.out / f"{name}.safetensors")
        if name in CONTROLLED:
            CONTROLLED[name].write_goldens(pipeline, options.out / f"{name}-control.safetensors", name)
        if family is animatediff:
            animatediff_long.write_goldens(pipeline, options.out / f"{name}-long.safetensors", name)
        if name in WEIGHTED:
            weighted_prompts.write_goldens(pipeline, options.out / f"{name}-weights.safetensors", name)
        if name == LOOPED[0]:
            for half, frames in LOOP_FRAMES.items():
                parts = [options.out / name / half / file for file in ("first.onnx", "model.onnx")]
                join_into_loop(*parts, options.out / LOOPED[1] / f"{half}.onnx", frames)
    if options.out == FIXTURES:
        share_graphs()


def write_loras(pipeline: DiffusionPipeline, folder: Path, name: str, out: Path) -> None:
    """Writes LoRAs, what diffusers makes with them, and the same for bundles of weights of 16 bits."""
    loras = out / f"{name}-loras"
    shutil.rmtree(loras, ignore_errors=True)
    lora.write_files(pipeline.transformer, loras)
    lora.write_goldens(pipeline, name, loras)
    for short, dtype in (("half", "fp16"), ("bf16", "bf16")):
        bundle = f"{name}-{short}"
        shutil.rmtree(out / bundle, ignore_errors=True)
        export_pipeline(folder, out / bundle, Choices(source="models/export/parity", dtype=dtype))
        loras = out / f"{bundle}-loras"
        shutil.rmtree(loras, ignore_errors=True)
        lora.write_files(pipeline.transformer, loras, lora.TYPES[dtype])
        lora.write_goldens(pipeline, bundle, loras, lora.TYPES[dtype])


def write_float_loras(pipeline: DiffusionPipeline, _: Path, name: str, out: Path) -> None:
    """Writes LoRAs and what diffusers makes with them."""
    family = {"tiny-animatediff": animatediff_lora, "tiny-ltx": ltx_lora}.get(name, picture_lora)
    loras = out / f"{name}-loras"
    shutil.rmtree(loras, ignore_errors=True)
    family.write_files(pipeline, loras)
    family.write_goldens(pipeline, name, loras)


LORAS = {"tiny-wan": write_loras, **dict.fromkeys(("tiny-animatediff", "tiny-ltx", "tiny-sd", "tiny-sdxl"), write_float_loras)}


if __name__ == "__main__":
    main()
