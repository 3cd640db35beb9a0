"""Writes test/fixtures/families: for each family a bundle of a random toy pipeline, and what diffusers makes with it.

Run from models/: python -m export.parity
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch

from ..__main__ import export_pipeline
from . import wan

FIXTURES = Path(__file__).parents[3] / "test" / "fixtures" / "families"
FAMILIES = {"tiny-wan": wan}


def main() -> None:
    torch.set_num_threads(1)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    for name, family in FAMILIES.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / name
            pipeline = family.save_pipeline(folder)
            shutil.rmtree(FIXTURES / name, ignore_errors=True)
            export_pipeline(folder, FIXTURES / name, source="models/export/parity")
        family.write_goldens(pipeline, FIXTURES / f"{name}.safetensors")


if __name__ == "__main__":
    main()
