"""Writes for each family a bundle of a random toy pipeline, and what diffusers makes with it.

    python -m export.parity [--out FOLDER] [FAMILY ...]

Run from models/. Without --out they are those that the tests compare with, in test/fixtures/families.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch

from ..__main__ import export_pipeline
from . import (
    latent_consistency,
    lora,
    ltx,
    stable_diffusion,
    stable_diffusion_2,
    stable_diffusion_inpaint,
    stable_diffusion_xl,
    wan,
)

FIXTURES = Path(__file__).parents[3] / "test" / "fixtures" / "families"
FAMILIES = {
    "tiny-lcm": latent_consistency,
    "tiny-ltx": ltx,
    "tiny-sd": stable_diffusion,
    "tiny-sd2": stable_diffusion_2,
    "tiny-sd-inpaint": stable_diffusion_inpaint,
    "tiny-sdxl": stable_diffusion_xl,
    "tiny-wan": wan,
}
WITH_LORAS = ("tiny-wan",)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m export.parity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", choices=[[], *FAMILIES], help="default: all")
    parser.add_argument("--out", type=Path, default=FIXTURES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.families or FAMILIES:
        family = FAMILIES[name]
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / name
            pipeline = family.save_pipeline(folder)
            shutil.rmtree(options.out / name, ignore_errors=True)
            export_pipeline(folder, options.out / name, source="models/export/parity")
        family.write_goldens(pipeline, options.out / f"{name}.safetensors")
        if name in WITH_LORAS:
            lora.write_goldens(pipeline, name, options.out / f"{name}-loras.safetensors")


if __name__ == "__main__":
    main()
