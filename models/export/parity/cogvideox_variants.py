"""CogVideoX pipelines beside the first ones: with rotary positions (5b), from pictures (5b-I2V), and those of 1.5."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from diffusers import CogVideoXDPMScheduler, CogVideoXImageToVideoPipeline, DiffusionPipeline

from . import cogvideox

ROTARY = {"use_rotary_positional_embeddings": True}
FROM_PICTURES = {"kind": CogVideoXImageToVideoPipeline, "in_channels": 2 * cogvideox.LATENT_CHANNELS}
# Two latent frames make a token of 1.5.
IN_PAIRS = {"patch_size_t": 2, "patch_bias": False}
OPTIONS = {
    # The solver of second order, too.
    "tiny-cogvideox-5b": ROTARY | {"scheduler": CogVideoXDPMScheduler(**cogvideox.LEVELS)},
    # Its positions are learned for clips of three latent frames of the size that the goldens have.
    "tiny-cogvideox-5b-i2v": ROTARY | FROM_PICTURES | {"use_learned_positional_embeddings": True, "sample_width": 4, "sample_height": 2},
    "tiny-cogvideox-1.5": ROTARY | IN_PAIRS,
    "tiny-cogvideox-1.5-i2v": ROTARY | FROM_PICTURES | IN_PAIRS | {"ofs_embed_dim": 8, "invert_scale_latents": True},
}


def variant(name: str) -> SimpleNamespace:
    def save_pipeline(folder: Path) -> DiffusionPipeline:
        return cogvideox.save_pipeline(folder, **OPTIONS[name])

    def write_goldens(pipeline: DiffusionPipeline, path: Path) -> None:
        cogvideox.write_goldens(pipeline, path, has_vae=False)

    return SimpleNamespace(save_pipeline=save_pipeline, write_goldens=write_goldens)


FAMILIES = {name: variant(name) for name in OPTIONS}
