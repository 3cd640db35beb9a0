"""Wan 2.1 (arXiv 2503.20314): UMT5, a transformer over latent frames, and a causal VAE that works one latent frame at a time.

What the graphs must equal: pipelines/wan/pipeline_wan.py and models/autoencoders/autoencoder_kl_wan.py of diffusers.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, WanUpsample
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import UMT5EncoderModel

from ..bundle import BundleWriter
from ..errors import ExportError
from ..graph import Graph
from ..pipeline_folder import PipelineFolder
from ..tokenizer import add_tokenizer

COMPONENTS = ("tokenizer", "text_encoder", "transformer", "vae", "scheduler")
MAX_TOKENS = 512
# How the model's authors call the modules, and how diffusers does (scripts/convert_wan_to_diffusers.py); LoRA files use either.
OTHER_NAMES = {
    **{
        f"{blocks}.{{n}}.{theirs}": f"{blocks}.{{n}}.{ours}"
        for blocks in ("blocks", "vace_blocks")
        for theirs, ours in {
            **{f"self_attn.{one}": f"attn1.to_{one}" for one in "qkv"},
            "self_attn.o": "attn1.to_out.0",
            **{f"cross_attn.{one}": f"attn2.to_{one}" for one in "qkv"},
            "cross_attn.o": "attn2.to_out.0",
            "cross_attn.k_img": "attn2.add_k_proj",
            "cross_attn.v_img": "attn2.add_v_proj",
            **{f"{theirs}.norm_{one}": f"{ours}.norm_{one}" for theirs, ours in (("self_attn", "attn1"), ("cross_attn", "attn2")) for one in "qk"},
            "norm3": "norm2",
            "ffn.0": "ffn.net.0.proj",
            "ffn.2": "ffn.net.2",
        }.items()
    },
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "head.head": "proj_out",
}  # fmt: skip
# Frames that a causal convolution looks back.
KEPT_FRAMES = 2


def export_text_to_video(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    folder.require(COMPONENTS)
    if folder.has("transformer_2") or folder.index.get("expand_timesteps"):
        raise ExportError(f"Expected {folder.path} to be a Wan 2.1 pipeline, with one transformer and one timestep a call.")
    # Each network is let go of before the next one is read.
    add_tokenizer(bundle, folder, collapse_spaces=True)
    bundle.add_graph("text_encoder/model.onnx", text_encoder_graph(folder.load("text_encoder", UMT5EncoderModel)))
    transformer = folder.load("transformer", WanTransformer3DModel)
    if transformer.config.in_channels != transformer.config.out_channels or transformer.config.image_dim is not None:
        raise ExportError(f"Expected the transformer of {folder.path} to take latents and text alone.")
    patch = transformer.config.patch_size
    channels = transformer.config.in_channels
    bundle.add_graph("transformer/model.onnx", denoiser_graph(transformer))
    del transformer
    vae = folder.load("vae", AutoencoderKLWan)
    if vae.config.patch_size is not None or vae.config.z_dim != channels:
        raise ExportError(f"Expected the VAE of {folder.path} to have {channels} channels and no patches, as Wan 2.1's has.")
    halves = {name: add_vae_half(bundle, vae, name) for name in ("encoder", "decoder")}
    return {
        "summary": "Wan 2.1: clips from a prompt.",
        "tasks": ["text"],
        "latent": {
            "channels": channels,
            "temporalCompression": vae.config.scale_factor_temporal,
            "spatialCompression": vae.config.scale_factor_spatial,
            "sizeMultiple": vae.config.scale_factor_spatial * max(patch),
        },
        "defaults": {
            "width": 832, "height": 480, "numFrames": 81, "frameRate": 16, "steps": 50, "guidanceScale": 5,
            "negativePrompt": "", "strength": 0.8,
        },
        "window": {"latentFrames": 21, "overlap": 5},
        "graphs": {
            "textEncoder": {"path": "text_encoder/model.onnx", "maxTokens": MAX_TOKENS, "padding": "max"},
            "denoiser": {"path": "transformer/model.onnx", "inputs": ["prompt_embeds"], "otherNames": OTHER_NAMES},
            "vaeEncoder": halves["encoder"],
            "vaeDecoder": halves["decoder"],
        },
    }  # fmt: skip


def text_encoder_graph(model: UMT5EncoderModel) -> Graph:
    class TextEncoder(type(model)):
        """Embeddings that are zero after a prompt's end."""

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            embeds = super().forward(input_ids, attention_mask).last_hidden_state
            return embeds * attention_mask.unsqueeze(-1).to(embeds.dtype)

    # A module around it would put a prefix before every parameter's name.
    model.__class__ = TextEncoder

    def example(lengths: list[int]) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(sum(lengths))
        ids = torch.randint(0, model.config.vocab_size, (len(lengths), max(lengths)), generator=generator)
        mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
        return ids, mask.long()

    return Graph(
        model, {"input_ids": (1,), "attention_mask": (1,)}, ("prompt_embeds",), (example([9, 5]), example([3]), example([1, 20, 7]))
    )


def denoiser_graph(model: WanTransformer3DModel) -> Graph:
    class Denoiser(type(model)):
        """The velocity as one tensor."""

        def forward(self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> Tensor:
            return super().forward(latents, timestep, prompt_embeds, return_dict=False)[0]

    model.__class__ = Denoiser

    def example(batch: int, frames: int, height: int, width: int, tokens: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(frames * height + width)
        return (
            torch.randn(batch, model.config.in_channels, frames, height, width, generator=generator),
            torch.linspace(900, 100, batch),
            torch.randn(batch, tokens, model.config.text_dim, generator=generator),
        )

    free = {"latents": (2, 3, 4), "timestep": (), "prompt_embeds": (1,)}
    return Graph(model, free, ("prediction",), (example(2, 3, 8, 12, 7), example(1, 1, 6, 4, 12), example(1, 5, 4, 10, 3)))


class VaeHalf(nn.Module):
    """One half of the VAE, a latent frame at a time. Children have the names that they have in AutoencoderKLWan.

    Its states are the caches of the official code, each of one length: an empty cache, and the mark of one that is still to
    be filled, mean zeros in front, which is how the convolutions pad.
    """

    def __init__(self, vae: AutoencoderKLWan, network: nn.Module):
        super().__init__()
        self.cache_places = sum(isinstance(module, WanCausalConv3d) for module in network.modules())
        # Caches of one frame, by number.
        self.short_caches: tuple[int, ...] = ()
        shape = (1, vae.config.z_dim, 1, 1, 1)
        self.register_buffer("latents_mean", torch.tensor(vae.config.latents_mean).view(shape))
        self.register_buffer("latents_std", torch.tensor(vae.config.latents_std).view(shape))

    def run(self, x: Tensor, caches: list, is_first: bool) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        caches: list[Any] = [*states, *([None] * (self.cache_places - len(states)))]
        result = self.run(x, caches, is_first=not states)
        if states:
            return result, *caches[: len(states)]
        used = [cache for cache in caches if cache is not None]
        return result, *(self.filled(used, number) for number in range(len(used)))

    def filled(self, caches: list, number: int) -> Tensor:
        """A cache as it stands after the first frame, filled up with zeros."""
        cache = caches[number]
        if isinstance(cache, str):
            # The convolution before it has the same channels and size.
            return torch.zeros_like(caches[number - 1]).repeat(1, 1, KEPT_FRAMES, 1, 1)
        return cache if number in self.short_caches else F.pad(cache, (0, 0, 0, 0, KEPT_FRAMES - 1, 0))


class Encoder(VaeHalf):
    """Pixels to the mean of the posterior, scaled to unit variance."""

    def __init__(self, vae: AutoencoderKLWan):
        super().__init__(vae, vae.encoder)
        self.encoder, self.quant_conv = vae.encoder, vae.quant_conv
        with torch.no_grad():
            caches: list[Any] = [None] * self.cache_places
            for frames in (1, vae.config.scale_factor_temporal):
                self.encoder(torch.zeros(1, 3, frames, 8, 8), feat_cache=caches, feat_idx=[0])
        self.short_caches = tuple(n for n, cache in enumerate(caches) if cache is not None and cache.shape[2] == 1)

    def run(self, x: Tensor, caches: list, is_first: bool) -> Tensor:
        moments = self.quant_conv(self.encoder(x, feat_cache=caches, feat_idx=[0]))
        return (moments.chunk(2, dim=1)[0] - self.latents_mean) / self.latents_std


class Decoder(VaeHalf):
    """Latents of unit variance to pixels in [-1, 1]."""

    def __init__(self, vae: AutoencoderKLWan):
        super().__init__(vae, vae.decoder)
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder
        for module in self.decoder.modules():
            # Doubling is the same in both modes, and only this one becomes a Resize.
            if isinstance(module, WanUpsample):
                module.mode = "nearest"

    def run(self, x: Tensor, caches: list, is_first: bool) -> Tensor:
        x = self.post_quant_conv(x * self.latents_std + self.latents_mean)
        return self.decoder(x, feat_cache=caches, feat_idx=[0], first_chunk=is_first).clamp(-1, 1)


def add_vae_half(bundle: BundleWriter, vae: AutoencoderKLWan, half: str) -> dict[str, Any]:
    """Writes the graphs of the first latent frame and of the others, and returns what the manifest says of them."""
    module = (Encoder if half == "encoder" else Decoder)(vae).eval()
    source, target = ("pixels", "latents") if half == "encoder" else ("latents", "pixels")
    scale = vae.config.scale_factor_spatial if half == "encoder" else 1
    channels = 3 if half == "encoder" else vae.config.z_dim
    frames = vae.config.scale_factor_temporal if half == "encoder" else 1

    def chunk(frames: int, batch: int, height: int, width: int) -> Tensor:
        generator = torch.Generator().manual_seed(frames * height + width)
        return torch.randn(batch, channels, frames, height * scale, width * scale, generator=generator)

    sizes = ((2, 4, 6), (1, 6, 4), (1, 2, 2))
    firsts = [(chunk(1, *size),) for size in sizes]
    with torch.no_grad():
        states = [module(*first)[1:] for first in firsts]
    nexts = [(chunk(frames, *size), *before) for size, before in zip(sizes, states, strict=True)]
    names = [f"state_{{}}_{n}" for n in range(len(states[0]))]
    outputs = (target, *(name.format("out") for name in names))
    # The first latent frame is neither stretched nor squeezed in time.
    without_time = frozenset(name for name, _ in module.named_parameters() if ".time_conv." in name)
    path, first_path = f"vae_{half}/model.onnx", f"vae_{half}/first.onnx"
    bundle.add_graph(first_path, Graph(module, {source: (3, 4)}, outputs, tuple(firsts), without_time))
    inputs = {source: (3, 4)} | {name.format("in"): (3, 4) for name in names}
    bundle.add_graph(path, Graph(module, inputs, outputs, tuple(nexts)))
    height = sizes[0][1] * vae.config.scale_factor_spatial
    return {
        "path": path,
        "latentFrames": 1,
        "first": {"path": first_path, "latentFrames": 1},
        "states": [
            {"channels": state.shape[1], "frames": state.shape[2], "spatialDivisor": height // state.shape[3]} for state in states[0]
        ],
    }
