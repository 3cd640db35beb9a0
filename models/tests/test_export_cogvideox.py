"""CogVideoX chunk by chunk and at any size, against diffusers. python -m pytest tests/test_export_cogvideox.py"""

from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXPipeline, CogVideoXTransformer3DModel
from torch import Tensor

from export.families.cogvideox import denoiser_graph
from export.families.cogvideox_vae import FIRST_LATENT_FRAMES, LATENT_FRAMES, Decoder, Encoder, VaeHalf, names_of
from export.parity.random_weights import randomise

torch.set_num_threads(1)


@pytest.fixture()
def vae() -> AutoencoderKLCogVideoX:
    blocks = {"down_block_types": ("CogVideoXDownBlock3D",) * 4, "up_block_types": ("CogVideoXUpBlock3D",) * 4}
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(4, 4, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2, scaling_factor=0.7, **blocks
    )
    return randomise(vae, 3)


def in_chunks(half: VaeHalf, clip: Tensor, first: int, following: int, results: int) -> list[Tensor]:
    half.nest = names_of(half.run(clip[:, :, :first], None)[1])
    made = half(clip[:, :, :first])
    pieces = [made[:results]]
    for start in range(first, clip.shape[2], following):
        made = half(clip[:, :, start : start + following], *made[results:])
        pieces.append(made[:results])
    return [torch.cat(parts, dim=2) for parts in zip(*pieces, strict=True)]


@pytest.mark.parametrize("frames", [1, 3, 7])
def test_decoding_in_chunks_equals_diffusers(vae: AutoencoderKLCogVideoX, frames: int) -> None:
    latents = torch.randn(2, 4, frames, 2, 3, generator=torch.Generator().manual_seed(frames))
    expected = vae.decode(latents / 0.7).sample
    (pixels,) = in_chunks(Decoder(vae).eval(), latents, FIRST_LATENT_FRAMES, LATENT_FRAMES, 1)
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 9, 25])
def test_encoding_in_chunks_equals_diffusers(vae: AutoencoderKLCogVideoX, frames: int) -> None:
    pixels = torch.randn(1, 3, frames, 16, 24, generator=torch.Generator().manual_seed(frames))
    expected = vae.encode(pixels).latent_dist
    mean, deviation = in_chunks(Encoder(vae).eval(), pixels, 4 * FIRST_LATENT_FRAMES - 3, 4 * LATENT_FRAMES, 2)
    torch.testing.assert_close(mean, expected.mean * 0.7, rtol=0, atol=1e-5)
    torch.testing.assert_close(deviation, expected.std * 0.7, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", [{}, {"use_rotary_positional_embeddings": True}, {"use_rotary_positional_embeddings": True, "patch_size_t": 2}])
@pytest.mark.parametrize("size", [(4, 6), (8, 4), (2, 8)])
def test_positions_are_those_of_the_pipeline(variant: dict, size: tuple[int, int]) -> None:
    model = CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=4, time_embed_dim=8, text_embed_dim=6, num_layers=1,
        sample_width=8, sample_height=8, sample_frames=9, max_text_seq_length=5, **variant,
    )  # fmt: skip
    randomise(model, 2)
    generator = torch.Generator().manual_seed(1)
    latents, text = torch.randn(1, 4, 4, *size, generator=generator), torch.randn(1, 5, 6, generator=generator)
    # Of the pipeline no more than its tables is asked for.
    pipeline = SimpleNamespace(vae_scale_factor_spatial=8, transformer=model)
    tables = CogVideoXPipeline._prepare_rotary_positional_embeddings(pipeline, 8 * size[0], 8 * size[1], 4, torch.device("cpu"))
    rotary = tables if variant else None
    level = torch.tensor([500.0])
    expected = model(latents.transpose(1, 2), text, level, image_rotary_emb=rotary, return_dict=False)[0].transpose(1, 2)
    made = denoiser_graph(model).module(latents, level, text)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [2, 3, 4])
def test_learned_positions_are_those_of_clips_of_their_length(frames: int) -> None:
    model = CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=8, out_channels=4, time_embed_dim=8, text_embed_dim=6, num_layers=1,
        sample_width=6, sample_height=4, sample_frames=9, max_text_seq_length=5, use_rotary_positional_embeddings=True,
        use_learned_positional_embeddings=True,
    )  # fmt: skip
    randomise(model, 2)
    generator = torch.Generator().manual_seed(1)
    model.patch_embed.pos_embedding.normal_(generator=generator)
    latents, known = torch.randn(2, 1, 4, frames, 4, 6, generator=generator)
    kept = torch.zeros(1, 1, frames, 4, 6)
    kept[:, :, 0] = 1
    text, level = torch.randn(1, 5, 6, generator=generator), torch.tensor([500.0])
    pipeline = SimpleNamespace(vae_scale_factor_spatial=8, transformer=model)
    tables = CogVideoXPipeline._prepare_rotary_positional_embeddings(pipeline, 32, 48, frames, torch.device("cpu"))
    given = torch.cat([latents, 0.25 * known * kept], dim=1).transpose(1, 2)
    expected = model(given, text, level, image_rotary_emb=tables, return_dict=False)[0].transpose(1, 2)
    made = denoiser_graph(model, 0.25).module(latents, level, text, known, kept)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)
