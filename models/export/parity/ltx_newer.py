"""An LTX-Video pipeline of 0.9.5: other blocks in its VAE, which takes the last noise away."""

from __future__ import annotations

from pathlib import Path

from diffusers import LTXPipeline

from . import ltx

write_goldens = ltx.write_goldens


def save_pipeline(folder: Path) -> LTXPipeline:
    return ltx.save_pipeline(folder, is_finishing=True, is_newer=True)
