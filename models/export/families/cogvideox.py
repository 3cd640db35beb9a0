"""CogVideoX 1.0 and 1.5 (arXiv 2408.06072): T5, a transformer over text and latents together, and a causal VAE.

What the graphs must equal: pipelines/cogvideo/, models/transformers/cogvideox_transformer_3d.py and
models/autoencoders/autoencoder_kl_cogvideox.py of diffusers.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from diffusers.models.embeddings import CogVideoXPatchEmbed
from torch import Tensor
from transformers import T5EncoderModel

from ..bundle import BundleWriter
from ..errors import ExportError
from ..graph import Graph
from ..pipeline_folder import PipelineFolder
from ..t5 import text_encoder_graph
from ..tokenizer import add_tokenizer
from .cogvideox_vae import LATENT_FRAMES, add_vae_half

COMPONENTS = ("tokenizer", "text_encoder", "transformer", "vae", "scheduler")
THETA = 10000.0
# What diffusers' pipeline gives the transformers of 1.5 that start from a picture.
OFS = 2.0


def export_text_to_video(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    return export(folder, bundle, from_picture=False)


def export_image_to_video(folder: PipelineFolder, bundle: BundleWriter) -> dict[str, Any]:
    return export(folder, bundle, from_picture=True)


def export(folder: PipelineFolder, bundle: BundleWriter, from_picture: bool) -> dict[str, Any]:
    folder.require(COMPONENTS)
    # Each network is let go of before the next one is read.
    add_tokenizer(bundle, folder)
    bundle.add_graph("text_encoder/model.onnx", text_encoder_graph(folder.load("text_encoder", T5EncoderModel), True))
    vae = folder.load("vae", AutoencoderKLCogVideoX)
    channels, scaling = vae.config.latent_channels, vae.config.scaling_factor
    temporal = int(vae.config.temporal_compression_ratio)
    spatial = 2 ** (len(vae.config.block_out_channels) - 1)
    halves = {name: add_vae_half(bundle, vae, name) for name in ("encoder", "decoder")}
    # 1.5 was trained on pictures that were scaled the other way round.
    picture_scale = scaling**-2 if vae.config.invert_scale_latents else 1.0
    del vae
    transformer = folder.load("transformer", CogVideoXTransformer3DModel)
    config = transformer.config
    taken = channels * (1 + from_picture)
    if config.in_channels != taken:
        raise ExportError(f"Expected the transformer of {folder.path} to take {taken} channels, got {config.in_channels}.")
    graph = denoiser_graph(transformer, picture_scale if from_picture else None)
    bundle.add_graph("transformer/model.onnx", graph)
    inputs = [name for name in graph.inputs if name not in ("latents", "timestep")]
    del transformer, graph
    patch_frames = config.patch_size_t or 1
    frames = 81 if patch_frames > 1 else 49
    return {
        "summary": f"CogVideoX: clips from {'a picture' if from_picture else 'a prompt'}.",
        "tasks": ["first-frame"] if from_picture else ["text", "restyle"],
        "latent": {
            "channels": channels,
            "temporalCompression": temporal,
            "spatialCompression": spatial,
            "sizeMultiple": spatial * config.patch_size,
            **({"fixedSize": True} if config.use_learned_positional_embeddings else {}),
            # The VAE works on pairs of latent frames, after the first three.
            "frameStep": temporal * LATENT_FRAMES,
            "noiseOrder": "frames",
        },
        "defaults": {
            "width": config.sample_width * spatial, "height": config.sample_height * spatial, "numFrames": frames,
            "frameRate": 16 if patch_frames > 1 else 8, "steps": 50, "guidanceScale": 6, "negativePrompt": "", "strength": 0.8,
        },
        "window": {
            "latentFrames": (frames - 1) // temporal + 1, 
            # More than a first frame is nothing that the models from pictures have seen.
            "overlap": 1 if from_picture else 3,
            **({"multiple": patch_frames} if patch_frames > 1 else {}),
        },
        "graphs": {
            "textEncoder": {"path": "text_encoder/model.onnx", "maxTokens": config.max_text_seq_length, "padding": "max"},
            "denoiser": {
                "path": "transformer/model.onnx",
                "inputs": inputs,
                **({"conditionMask": ["keep"], "knownFrames": "told"} if from_picture else {}),
            },
            "vaeEncoder": halves["encoder"],
            "vaeDecoder": halves["decoder"],
        },
    }  # fmt: skip


def denoiser_graph(model: CogVideoXTransformer3DModel, picture_scale: float | None = None) -> Graph:
    """`picture_scale` is what known latents are multiplied by, for a model that starts from a picture."""
    config = model.config

    class Denoiser(type(model)):
        """The prediction as one tensor, channels before frames."""

        def forward(
            self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor,
            condition_latents: Tensor | None = None, condition_mask: Tensor | None = None,
        ) -> Tensor:  # fmt: skip
            if condition_latents is not None:
                known = torch.where(condition_mask > 0.5, condition_latents * picture_scale, 0.0)
                latents = torch.cat([latents, known], dim=1)
            rotary = rotary_table(config, latents) if config.use_rotary_positional_embeddings else None
            made = super().forward(
                latents.transpose(1, 2), prompt_embeds.expand(latents.shape[0], -1, -1), timestep,
                ofs=torch.full_like(timestep, OFS) if config.ofs_embed_dim else None,
                image_rotary_emb=rotary, return_dict=False,
            )[0]  # fmt: skip
            return made.transpose(1, 2)

    model.__class__ = Denoiser
    if config.use_learned_positional_embeddings:
        model.patch_embed.__class__ = LearnedPatchEmbed
    elif not config.use_rotary_positional_embeddings:
        model.patch_embed.__class__ = PatchEmbed
    from_picture = picture_scale is not None
    channels = config.in_channels // (1 + from_picture)

    def example(batch: int, frames: int, height: int, width: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(frames * height + width)
        shape = (batch, channels, frames, height, width)
        text = torch.randn(batch, config.max_text_seq_length, config.text_embed_dim, generator=generator)
        kept = torch.zeros(batch, 1, *shape[2:])
        kept[:, :, 0] = 1
        picture = (torch.randn(shape, generator=generator), kept) if from_picture else ()
        return torch.randn(shape, generator=generator), torch.linspace(900, 100, batch).round(), text, *picture

    sizes = ((8, 12), (6, 4), (4, 10))
    volume: tuple[int, ...] = (2, 3, 4)
    if config.use_learned_positional_embeddings:
        sizes, volume = ((config.sample_height, config.sample_width),) * 3, (2,)
    free = {"latents": volume, "timestep": (), "prompt_embeds": ()}
    if from_picture:
        free |= {"condition_latents": volume, "condition_mask": volume}
    step = config.patch_size_t or 1
    examples = tuple(example(batch, frames * step, *size) for batch, frames, size in zip((2, 1, 1), (3, 1, 5), sizes, strict=True))
    return Graph(model, free, ("prediction",), examples)


class PatchEmbed(CogVideoXPatchEmbed):
    """Adds sines and cosines of the positions, of whatever size the clip is."""

    def forward(self, text_embeds: Tensor, image_embeds: Tensor) -> Tensor:
        embeds = without_positions(self, text_embeds, image_embeds)
        length = text_embeds.shape[1]
        return torch.cat([embeds[:, :length], embeds[:, length:] + computed_positions(self, image_embeds)], dim=1)


class LearnedPatchEmbed(CogVideoXPatchEmbed):
    """Adds what was learned for each position, to clips of the length that it was learned at; the others as above."""

    def forward(self, text_embeds: Tensor, image_embeds: Tensor) -> Tensor:
        embeds = without_positions(self, text_embeds, image_embeds)
        frames, length = image_embeds.shape[1], text_embeds.shape[1]
        learned_frames = (self.sample_frames - 1) // self.temporal_compression_ratio + 1
        places = torch.arange(frames)
        table = self.pos_embedding[0].to(embeds.dtype)
        learned = table[length:].unflatten(0, (learned_frames, -1))[places.clamp(max=learned_frames - 1)].flatten(0, 1)
        is_learned = places[-1] == learned_frames - 1
        return torch.cat(
            [
                embeds[:, :length] + torch.where(is_learned, table[:length], 0.0),
                embeds[:, length:] + torch.where(is_learned, learned, computed_positions(self, image_embeds)),
            ],
            dim=1,
        )


def without_positions(module: CogVideoXPatchEmbed, text_embeds: Tensor, image_embeds: Tensor) -> Tensor:
    uses = module.use_positional_embeddings, module.use_learned_positional_embeddings
    module.use_positional_embeddings = module.use_learned_positional_embeddings = False
    embeds = CogVideoXPatchEmbed.forward(module, text_embeds, image_embeds)
    module.use_positional_embeddings, module.use_learned_positional_embeddings = uses
    return embeds


def computed_positions(module: CogVideoXPatchEmbed, image_embeds: Tensor) -> Tensor:
    """[S, width] of clips [B,T,C,H,W]."""
    _, frames, _, height, width = image_embeds.shape
    across = 3 * module.embed_dim // 8
    rows, columns = height // module.patch_size, width // module.patch_size
    scale = module.spatial_interpolation_scale
    in_time = waves(torch.arange(frames) / module.temporal_interpolation_scale, module.embed_dim // 4).view(frames, 1, 1, -1)
    in_width = waves(torch.arange(columns) / scale, across).view(1, 1, columns, -1)
    in_height = waves(torch.arange(rows) / scale, across).view(1, rows, 1, -1)
    return torch.cat([part.expand(frames, rows, columns, -1) for part in (in_time, in_width, in_height)], dim=-1).flatten(0, 2)


def waves(positions: Tensor, width: int) -> Tensor:
    """[N, width]: sines, then cosines, as get_1d_sincos_pos_embed_from_grid of models/embeddings.py."""
    rates = 1 / THETA ** (torch.arange(width // 2) / (width / 2))
    angles = positions[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def rotary_table(config: Any, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines [S, head] of each position, as get_3d_rotary_pos_embed of models/embeddings.py."""
    _, _, frames, height, width = latents.shape
    rows, columns = height // config.patch_size, width // config.patch_size
    along_rows, along_columns = torch.arange(rows).float(), torch.arange(columns).float()
    if config.patch_size_t is None:
        base = config.sample_height // config.patch_size, config.sample_width // config.patch_size
        along_rows, along_columns = fit_to_base(along_rows, along_columns, *base)
    else:
        frames = frames // config.patch_size_t
    head = config.attention_head_dim
    shape = (frames, rows, columns)

    def table(positions: Tensor, width: int, axis: int) -> Tensor:
        rates = 1 / THETA ** (torch.arange(0, width, 2) / width)
        angles = positions[:, None] * rates
        doubled = torch.stack([angles, angles], dim=2).flatten(1)
        place = [1, 1, 1, -1]
        place[axis] = shape[axis]
        return doubled.view(place).expand(*shape, -1)

    angles = torch.cat(
        [
            table(torch.arange(frames).float(), head // 4, 0),
            table(along_rows, head // 8 * 3, 1),
            table(along_columns, head // 8 * 3, 2),
        ],
        dim=3,
    ).flatten(0, 2)
    return angles.cos(), angles.sin()


def fit_to_base(rows: Tensor, columns: Tensor, base_rows: int, base_columns: int) -> tuple[Tensor, Tensor]:
    """Positions 0, 1, 2, ... spread over the largest part, in the middle, of the base grid that has the clip's shape."""
    height, width = (along.double()[-1] + 1 for along in (rows, columns))
    is_tall = height / width > base_rows / base_columns
    fitted_rows = torch.where(is_tall, torch.full_like(height, base_rows), (base_columns / width * height).round())
    fitted_columns = torch.where(is_tall, (base_rows / height * width).round(), torch.full_like(width, base_columns))

    def spread(along: Tensor, count: Tensor, base: int, fitted: Tensor) -> Tensor:
        start = ((base - fitted) / 2).round()
        end = (start + fitted) * (count - 1) / count
        return (start + along.double() * ((end - start) / (count - 1).clamp(min=1))).float()

    return spread(rows, height, base_rows, fitted_rows), spread(columns, width, base_columns, fitted_columns)
