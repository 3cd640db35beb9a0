"""A CogVideoX pipeline with rotary positions, and the solver of second order."""

from __future__ import annotations

from pathlib import Path

from diffusers import CogVideoXDPMScheduler, CogVideoXPipeline

from . import cogvideox

write_goldens = cogvideox.write_goldens


def save_pipeline(folder: Path) -> CogVideoXPipeline:
    return cogvideox.save_pipeline(folder, scheduler=CogVideoXDPMScheduler(**cogvideox.LEVELS), use_rotary_positional_embeddings=True)
