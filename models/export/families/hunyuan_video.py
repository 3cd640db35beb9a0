"""HunyuanVideo (arXiv 2412.03603): Llama and CLIP, a transformer over text and latents together, and a causal VAE.

What the graphs must equal: pipelines/hunyuan_video and models/transformers/transformer_hunyuan_video.py of diffusers.
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
from .hunyuan_video_text import MAX_TOKENS, pooled_encoder_graph, template_ids, text_encoder_graph
from .hunyuan_video_vae import add_vae

COMPONENTS = ("tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2", "transformer", "vae", "scheduler")


def export_text_to_video(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    folder.require(COMPONENTS)
    # Each network is let go of before the next one is read.
    before, after = template_ids(folder, DEFAULT_PROMPT_TEMPLATE["template"], DEFAULT_PROMPT_TEMPLATE["crop_start"])
    add_tokenizer(bundle, folder, is_bare=True)
    bundle.add_graph("text_encoder/model.onnx", text_encoder_graph(folder.load("text_encoder", LlamaModel), before, after))
    pooled_tokens = add_pooled_encoder(folder, bundle)
    vae = folder.load("vae", AutoencoderKLHunyuanVideo)
    channels = vae.config.latent_channels
    temporal, spatial = vae.temporal_compression_ratio, vae.spatial_compression_ratio
    halves = add_vae(bundle, vae)
    del vae
    transformer = folder.load("transformer", HunyuanVideoTransformer3DModel)
    config = transformer.config
    if config.in_channels != channels or config.image_condition_type is not None or config.patch_size_t != 1:
        raise ExportError(f"Expected the transformer of {folder.path} to take single frames of {channels} channels of latents, and text alone.")
    is_told = config.guidance_embeds
    graph = denoiser_graph(transformer)
    bundle.add_graph("transformer/model.onnx", graph)
    return {
        "summary": "HunyuanVideo: clips from a prompt.",
        "tasks": ["text"],
        "latent": {
            "channels": channels, "temporalCompression": temporal, "spatialCompression": spatial,
            "sizeMultiple": spatial * config.patch_size,
        },
        "defaults": {
            "width": 1280, "height": 720, "numFrames": 129, "frameRate": 24, "steps": 50, "guidanceScale": 6 if is_told else 1,
            "negativePrompt": "", "strength": 0.8, "sigmas": "linear",
        },
        "window": {"latentFrames": 33, "overlap": 5},
        "graphs": {
            "textEncoder": {"path": "text_encoder/model.onnx", "maxTokens": MAX_TOKENS, "padding": "longest"},
            "textEncoder2": {"path": "text_encoder_2/model.onnx", "maxTokens": pooled_tokens, "padding": "longest"},
            "denoiser": {
                "path": "transformer/model.onnx", "inputs": [name for name in graph.inputs if name not in ("latents", "timestep")],
            },
            **halves,
        },
    }  # fmt: skip


def add_pooled_encoder(folder: PipelineFolder, bundle: BundleWriter) -> int:
    """Writes CLIP with its tokenizer, and returns how many tokens it reads."""
    add_tokenizer(bundle, folder, "tokenizer_2")
    model = folder.load("text_encoder_2", CLIPTextModel)
    bundle.add_graph("text_encoder_2/model.onnx", pooled_encoder_graph(model))
    return model.config.max_position_embeddings
