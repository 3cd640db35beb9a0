"""Wan in PyTorch, and its graphs as the exporter writes them for the CPU: python -m bench.wan FOLDER THREADS

Random weights: a transformer of Wan 2.1's shape with 100 M of them, and Wan's VAE as it is configured. Writes `transformer.onnx` in float32
and in int8, the VAE's decoder, and what a manifest says of it, into FOLDER; then answers as bench.serve does.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import Tensor

from export.bundle import BundleWriter
from export.families.wan_attention import Attend
from export.families.wan_denoiser import text_denoiser
from export.families.wan_vae import add_vae_half
from export.parity.random_weights import randomise

from .serve import Network, serve

TRANSFORMER = {
    "patch_size": (1, 2, 2), "num_attention_heads": 12, "attention_head_dim": 64, "in_channels": 16, "out_channels": 16, "text_dim": 768,
    "freq_dim": 256, "ffn_dim": 3072, "num_layers": 10, "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads",
}  # fmt: skip


def make_transformer() -> WanTransformer3DModel:
    return randomise(WanTransformer3DModel(**TRANSFORMER), 2)


def make_vae() -> AutoencoderKLWan:
    return randomise(AutoencoderKLWan(), 3)


def write_graphs(folder: Path) -> None:
    for dtype in ("fp32", "int8"):
        bundle = BundleWriter(folder / dtype, dtype, "cpu")
        transformer = make_transformer()
        transformer.set_attn_processor(Attend(has_rotary=True))
        bundle.add_graph("transformer/model.onnx", text_denoiser(transformer))
        del transformer
    bundle = BundleWriter(folder, device="cpu")
    bundle.add_json("vae_decoder.json", add_vae_half(bundle, make_vae(), "decoder"))


def prepare(_: Path, network: str, inputs: dict[str, Tensor]) -> Network:
    """The official modules."""
    if network == "denoiser":
        transformer = make_transformer()
        latents, timestep, prompt_embeds = (inputs[name] for name in ("latents", "timestep", "prompt_embeds"))
        return lambda: transformer(latents, timestep, prompt_embeds, return_dict=False)[0]
    vae = make_vae()
    mean, std = (torch.tensor(one).view(1, -1, 1, 1, 1) for one in (vae.config.latents_mean, vae.config.latents_std))
    return lambda: vae.decode(inputs["latents"] * std + mean).sample


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    # What is printed would be taken for an answer.
    with contextlib.redirect_stdout(sys.stderr):
        write_graphs(Path(sys.argv[1]))
    serve(prepare)
