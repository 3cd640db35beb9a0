"""HunyuanVideo (arXiv 2412.03603): Llama and CLIP, a transformer over text and latents together, and a causal VAE.

What the graphs must equal: pipelines/hunyuan_video (of text, and of text and a picture) and models/transformers/transformer_hunyuan_video.py of diffusers.
"""

from __future__ import annotations

from typing import Any

from diffusers import AutoencoderKLHunyuanVideo, HunyuanVideoTransformer3DModel
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from transformers import CLIPTextModel, LlamaModel

from ..bundle import BundleWriter
from ..errors import ExportError
from ..pipeline_folder import PipelineFolder
from ..tokenizer import add_tokenizer
from .hunyuan_video_denoiser import denoiser_graph
from .hunyuan_video_picture import MAX_TOKENS as MAX_TOLD_TOKENS
from .hunyuan_video_picture import add_told_encoders
from .hunyuan_video_text import MAX_TOKENS, pooled_encoder_graph, template_ids, text_encoder_graph
from .hunyuan_video_vae import add_vae

COMPONENTS = ("tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2", "transformer", "vae", "scheduler")
# Latent frames that the transformers are trained for.
WINDOW = 33
# Of the noise that all frames start from, this share is the picture's latents (prepare_latents of the pipelines from pictures).
PICTURE_SHARE = 0.001


def export_text_to_video(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    folder.require(COMPONENTS)
    if folder.config("transformer").get("image_condition_type") is not None:
        raise ExportError(f"Expected the transformer of {folder.path} to go by text alone. Export it as a HunyuanVideoImageToVideoPipeline.")
    # Each network is let go of before the next one is read.
    before, after = template_ids(folder, DEFAULT_PROMPT_TEMPLATE["template"], DEFAULT_PROMPT_TEMPLATE["crop_start"])
    add_tokenizer(bundle, folder, is_bare=True)
    bundle.add_graph("text_encoder/model.onnx", text_encoder_graph(folder.load("text_encoder", LlamaModel), before, after))
    described = add_networks(folder, bundle)
    described["graphs"]["textEncoder"] = {"path": "text_encoder/model.onnx", "maxTokens": MAX_TOKENS, "padding": "longest"}
    return {
        **described,
        "summary": "HunyuanVideo: clips from a prompt.",
        "tasks": ["text"],
        "window": {"latentFrames": WINDOW, "overlap": 5},
    }


def export_image_to_video(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    """The picture is a clip's first latent frame, or one in front of it (`latent_concat`), and among the words of the prompt."""
    folder.require((*COMPONENTS, "image_processor"))
    kind = folder.config("transformer").get("image_condition_type")
    if kind is None:
        raise ExportError(f"Expected the transformer of {folder.path} to take a picture. Export it as a HunyuanVideoPipeline.")
    is_beside = kind == "latent_concat"
    add_tokenizer(bundle, folder, is_bare=True)
    add_told_encoders(folder, bundle, 2 if is_beside else 4)
    described = add_networks(folder, bundle)
    described["graphs"] |= {
        "imageEncoder": {"path": "image_encoder/model.onnx"},
        "textEncoder": {
            "path": "text_encoder/model.onnx", "maxTokens": MAX_TOLD_TOKENS, "padding": "longest", "inputs": ["image_embeds"],
        },
    }  # fmt: skip
    described["graphs"]["denoiser"] |= {"conditionMask": ["keep"], "knownShare": PICTURE_SHARE}
    if is_beside:
        described["graphs"]["denoiser"] |= {"knownFrames": "told", "knownPlace": "before"}
        described["defaults"]["numFrames"] -= described["latent"]["temporalCompression"]
    return {
        **described,
        "summary": "HunyuanVideo: clips from a picture and a prompt.",
        "tasks": ["first-frame"],
        # A picture is all that the transformer is told of.
        "window": {"latentFrames": WINDOW, "overlap": 1},
    }


def add_networks(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    """Writes all but the first text encoder, and returns what the manifest says of them."""
    transformer = folder.load("transformer", HunyuanVideoTransformer3DModel)
    config = transformer.config
    channels = config.out_channels
    if config.patch_size_t != 1:
        raise ExportError(f"Expected the transformer of {folder.path} to take single frames, not patches of {config.patch_size_t}.")
    graph = denoiser_graph(transformer)
    del transformer
    bundle.add_graph("transformer/model.onnx", graph)
    inputs = [name for name in graph.inputs if name not in ("latents", "timestep")]
    del graph
    pooled_tokens = add_pooled_encoder(folder, bundle)
    vae = folder.load("vae", AutoencoderKLHunyuanVideo)
    if vae.config.latent_channels != channels:
        raise ExportError(f"Expected the VAE of {folder.path} to have {channels} channels, as the transformer has.")
    temporal, spatial = vae.temporal_compression_ratio, vae.spatial_compression_ratio
    return {
        "latent": {
            "channels": channels, "temporalCompression": temporal, "spatialCompression": spatial,
            "sizeMultiple": spatial * config.patch_size,
        },
        "defaults": {
            "width": 1280, "height": 720, "numFrames": (WINDOW - 1) * temporal + 1, "frameRate": 24, "steps": 50,
            "guidanceScale": 6 if config.guidance_embeds else 1, "negativePrompt": "", "strength": 0.8, "sigmas": "linear",
        },
        "graphs": {
            "textEncoder2": {"path": "text_encoder_2/model.onnx", "maxTokens": pooled_tokens, "padding": "longest"},
            "denoiser": {"path": "transformer/model.onnx", "inputs": inputs},
            **add_vae(bundle, vae),
        },
    }  # fmt: skip


def add_pooled_encoder(folder: PipelineFolder, bundle: BundleWriter) -> int:
    """Writes CLIP with its tokenizer, and returns how many tokens it reads."""
    add_tokenizer(bundle, folder, "tokenizer_2")
    model = folder.load("text_encoder_2", CLIPTextModel)
    bundle.add_graph("text_encoder_2/model.onnx", pooled_encoder_graph(model))
    return model.config.max_position_embeddings
