"""Wan 2.1 and 2.2 (arXiv 2503.20314): UMT5, one or two transformers over latent frames, and a causal VAE.

What the graphs must equal: pipelines/wan of diffusers. Clips that start from pictures are told of them in one of two ways:
by channels beside the latents, with every pixel of the clip encoded, or (expand_timesteps) in the latents themselves.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel, WanVACETransformer3DModel
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionModel, CLIPVisionModelWithProjection, UMT5EncoderModel

from ..bundle import BundleWriter
from ..clip_pictures import picture_encoder_graph
from ..errors import ExportError
from ..graph import CPU_OPSET, Graph
from ..pipeline_folder import PipelineFolder, read
from ..tokenizer import add_tokenizer
from .wan_attention import TEXT_TOKENS, Attend
from .wan_denoiser import OTHER_NAMES, controlled_denoiser, kept_frames_denoiser, picture_denoiser, text_denoiser
from .wan_vae import add_vae_half

COMPONENTS = ("tokenizer", "text_encoder", "transformer", "vae", "scheduler")
# Latent positions that a token stands for, in height and in width.
PATCH = 2
# What the clips show that VACE was trained to go by (arXiv 2503.07598, section 3).
CONTROLS = ["depth", "pose", "scribble", "gray", "flow", "layout"]
CONDITION = ["condition_latents", "condition_mask"]


def export_text_to_video(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    if folder.index.get("expand_timesteps"):
        return export_pictures_in_latents(folder, bundle)
    parts = experts(folder)
    described = add_shared(folder, bundle)
    denoisers = {}
    for component, graph in parts:
        transformer = load_transformer(folder, component, bundle.opset)
        channels = described["latent"]["channels"]
        if transformer.config.in_channels != channels or transformer.config.image_dim is not None:
            raise ExportError(f"Expected {component} of {folder.path} to take latents of {channels} channels and text alone.")
        bundle.add_graph(f"{component}/model.onnx", text_denoiser(transformer))
        denoisers[graph] = {"path": f"{component}/model.onnx"}
        del transformer
    denoisers["denoiser"]["inputs"] = ["prompt_embeds"]
    return finish(folder, described, denoisers, "clips from a prompt", ["text"])


def export_image_to_video(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    if folder.index.get("expand_timesteps"):
        return export_pictures_in_latents(folder, bundle)
    parts = experts(folder)
    described = add_shared(folder, bundle)
    latent = described["latent"]
    picture_tokens = add_picture_encoder(folder, bundle) if folder.has("image_encoder") else None
    denoisers = {}
    for component, graph in parts:
        transformer = load_transformer(folder, component, bundle.opset)
        config = transformer.config
        if config.in_channels != 2 * latent["channels"] + latent["temporalCompression"]:
            raise ExportError(f"Expected {component} of {folder.path} to take latents, a mask and a condition.")
        if (config.image_dim is None) != (picture_tokens is None):
            raise ExportError(f"Expected {folder.path} to have an image_encoder exactly when its {component} takes what it gives.")
        bundle.add_graph(f"{component}/model.onnx", picture_denoiser(transformer, latent["temporalCompression"], picture_tokens))
        denoisers[graph] = {"path": f"{component}/model.onnx"}
        # Places for the tokens of two pictures take both or none.
        tasks = ["last-frame"] if config.pos_embed_seq_len is not None else ["first-frame"]
        del transformer
    pictures = [] if picture_tokens is None else ["image_embeds"]
    denoisers["denoiser"] |= {
        "inputs": ["prompt_embeds", *pictures, *CONDITION],
        "conditionMask": ["keep-frames"], "conditionFrom": "pixels", "knownFrames": "told",
    }  # fmt: skip
    if picture_tokens is None:
        tasks = ["first-frame", "last-frame"]
    else:
        denoisers = {"imageEncoder": {"path": "image_encoder/model.onnx"}, **denoisers}
    return finish(folder, described, denoisers, "clips that start from a picture", tasks)


def export_pictures_in_latents(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    """Wan 2.2's small model: from a prompt alone, or from a picture whose latents stand in the first frame."""
    if folder.has("transformer_2"):
        raise ExportError(f"Expected {folder.path} to have one transformer, as it expands timesteps, got two.")
    described = add_shared(folder, bundle)
    bundle.add_graph("transformer/model.onnx", kept_frames_denoiser(load_transformer(folder, "transformer", bundle.opset)))
    denoiser = {"path": "transformer/model.onnx", "inputs": ["prompt_embeds", *CONDITION], "conditionMask": ["keep"]}
    return finish(folder, described, {"denoiser": denoiser}, "clips from a prompt or a picture", ["text", "first-frame"])


def export_controlled(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    """VACE (arXiv 2503.07598): one transformer that is told of a clip to go by, of a part that stays, and of pictures to show."""
    parts = experts(folder)
    described = add_shared(folder, bundle)
    latent = described["latent"]
    pixels = latent["spatialCompression"] ** 2
    denoisers = {}
    for component, graph in parts:
        transformer = load_transformer(folder, component, bundle.opset, WanVACETransformer3DModel)
        if transformer.config.vace_in_channels != 2 * latent["channels"] + pixels:
            raise ExportError(f"Expected {component} of {folder.path} to take two clips and a mask of {pixels} channels as its control.")
        bundle.add_graph(f"{component}/model.onnx", controlled_denoiser(transformer, latent["spatialCompression"]))
        denoisers[graph] = {"path": f"{component}/model.onnx"}
        del transformer
    denoisers["denoiser"] |= {
        "inputs": ["prompt_embeds", *CONDITION, "control_latents", "control_scale"],
        "conditionMask": ["keep-pixels"], "conditionFrom": "pixels", "knownFrames": "told", "controls": CONTROLS,
    }  # fmt: skip
    tasks = ["text", "first-frame", "last-frame", "inpaint", "control", "reference"]
    return finish(folder, described, denoisers, "clips from a prompt, a clip to go by, and pictures", tasks)


def add_shared(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    """Writes what every pipeline has, each network let go of before the next one is read; returns what the manifest says of it."""
    folder.require(COMPONENTS)
    add_tokenizer(bundle, folder, collapse_spaces=True)
    bundle.add_graph("text_encoder/model.onnx", text_encoder_graph(folder.load("text_encoder", UMT5EncoderModel)))
    vae = folder.load("vae", AutoencoderKLWan)
    halves = {name: add_vae_half(bundle, vae, name) for name in ("encoder", "decoder")}
    return {
        "latent": {
            "channels": vae.config.z_dim,
            "temporalCompression": vae.config.scale_factor_temporal,
            "spatialCompression": vae.config.scale_factor_spatial,
        },
        "textEncoder": {"path": "text_encoder/model.onnx", "maxTokens": TEXT_TOKENS, "padding": "max"},
        "vaeEncoder": halves["encoder"],
        "vaeDecoder": halves["decoder"],
    }


def experts(folder: PipelineFolder) -> list[tuple[str, str]]:
    """The transformers' components and the graphs that they become."""
    if not folder.has("transformer_2"):
        return [("transformer", "denoiser")]
    folder.require(("transformer_2",))
    if not isinstance(folder.index.get("boundary_ratio"), float):
        raise ExportError(f"Expected {folder.path} with two transformers to have a boundary_ratio, got {folder.index.get('boundary_ratio')}.")
    return [("transformer", "denoiser"), ("transformer_2", "denoiser2")]


def load_transformer(folder: PipelineFolder, component: str, opset: int, kind: type = WanTransformer3DModel) -> Any:
    transformer = folder.load(component, kind)
    if list(transformer.config.patch_size) != [1, PATCH, PATCH]:
        raise ExportError(f"Expected {component} of {folder.path} to take patches of 1x2x2, got {transformer.config.patch_size}.")
    transformer.set_attn_processor(Attend(has_rotary=opset >= CPU_OPSET))
    return transformer


def add_picture_encoder(folder: PipelineFolder, bundle: BundleWriter) -> int:
    """Writes CLIP's half that sees, and returns how many tokens it makes of a picture."""
    folder.require(("image_encoder", "image_processor"))
    kinds = (CLIPVisionModel, CLIPVisionModelWithProjection)
    model = folder.load("image_encoder", kinds)
    processor = read(folder.path / "image_processor", CLIPImageProcessor)
    bundle.add_graph("image_encoder/model.onnx", picture_encoder_graph(folder, model, processor))
    return (model.config.image_size // model.config.patch_size) ** 2 + 1


def finish(
    folder: PipelineFolder, described: dict[str, Any], denoisers: dict[str, Any], does: str, tasks: list[str]
) -> dict[str, Any]:
    """The whole of what the manifest says."""
    latent = described.pop("latent")
    latent["sizeMultiple"] = latent["spatialCompression"] * PATCH
    denoisers["denoiser"]["otherNames"] = OTHER_NAMES
    two = "denoiser2" in denoisers
    if two:
        denoisers["denoiser2"]["below"] = folder.index["boundary_ratio"]
    # Sizes, frames and guidance that the model cards of the two versions run with.
    small = folder.index.get("expand_timesteps")
    defaults = {
        "width": 1280 if small else 832, "height": 704 if small else 480,
        "numFrames": 121 if small else 81, "frameRate": 24 if small else 16,
        "steps": 40 if two else 50, "guidanceScale": (4 if tasks == ["text"] else 3.5) if two else 5,
        "negativePrompt": "", "strength": 0.8,
    }  # fmt: skip
    if two and tasks == ["text"]:
        denoisers["denoiser2"]["guidanceScale"] = 3
    frames = (defaults["numFrames"] - 1) // latent["temporalCompression"] + 1
    return {
        "summary": f"Wan 2.{2 if two or small else 1}: {does}.",
        "tasks": tasks,
        "latent": latent,
        "defaults": defaults,
        "window": {"latentFrames": frames, "overlap": 5},
        "graphs": {"textEncoder": described.pop("textEncoder"), **denoisers, **described},
    }


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
