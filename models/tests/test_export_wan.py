"""The toy Wan bundle that is in the repository, against the official modules. python -m pytest tests/test_export_wan.py"""

import json
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
import torch
from diffusers import WanPipeline
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor
from tokenizers import Tokenizer
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil

from export.clip_pictures import resize_and_crop
from export.families.wan_attention import TEXT_TOKENS, Attend
from export.families.wan_vae import Encoder, FrameConvolution
from export.graph import open_session
from export.layout import read_weights
from export.loop import join_into_loop
from export.parity.fixtures import copy_whole
from export.parity.goldens import moving_clip
from export.parity.random_weights import randomise
from export.parity.wan import make_pipeline
from export.parity.wan_variants import from_picture

torch.set_num_threads(1)
torch.set_grad_enabled(False)
WHOLE = TemporaryDirectory()
copy_whole(Path(WHOLE.name))
BUNDLE = Path(WHOLE.name) / "tiny-wan"


@pytest.fixture(scope="module")
def pipeline() -> WanPipeline:
    return make_pipeline()


@pytest.fixture(scope="module")
def statistics(pipeline: WanPipeline) -> tuple[Tensor, Tensor]:
    config = pipeline.vae.config
    return torch.tensor(config.latents_mean).view(1, -1, 1, 1, 1), torch.tensor(config.latents_std).view(1, -1, 1, 1, 1)


def stream(half: str, source: str, chunks: list[Tensor]) -> np.ndarray:
    """A clip chunk by chunk, its states handed on, as the runtime does."""
    described = json.loads((BUNDLE / "reelspace.json").read_text())["graphs"][half]
    session = open_session(BUNDLE / described["first"]["path"])
    parts, states = [], []
    for chunk in chunks:
        feed = {source: chunk.numpy()} | {f"state_in_{n}": state for n, state in enumerate(states)}
        part, *states = session.run(None, feed)
        parts.append(part)
        session = open_session(BUNDLE / described["path"])
        assert [list(state.shape[1:3]) for state in states] == [[one["channels"], one["frames"]] for one in described["states"]]
    return np.concatenate(parts, 2)


def test_encoding_chunk_by_chunk_equals_the_official_encoder(pipeline: WanPipeline, statistics: tuple[Tensor, Tensor]) -> None:
    clip = moving_clip(13, 48, 16)
    mean, std = statistics
    expected = (pipeline.vae.encode(clip).latent_dist.mode() - mean) / std
    actual = stream("vaeEncoder", "pixels", [clip[:, :, :1], *clip[:, :, 1:].split(4, 2)])
    assert np.abs(actual - expected.numpy()).max() < 1e-4 * expected.abs().max()


def test_decoding_chunk_by_chunk_equals_the_official_decoder(pipeline: WanPipeline, statistics: tuple[Tensor, Tensor]) -> None:
    mean, std = statistics
    latents = torch.randn(1, 4, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    expected = pipeline.vae.decode(latents * std + mean).sample
    assert expected.shape == (1, 3, 13, 32, 48)
    assert np.abs(stream("vaeDecoder", "latents", list(latents.split(1, 2))) - expected.numpy()).max() < 1e-4


def test_one_graph_runs_through_a_clip_with_its_weights_once(
    pipeline: WanPipeline, statistics: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    mean, std = statistics
    place = tmp_path / "model.onnx"
    join_into_loop(BUNDLE / "vae_decoder/first.onnx", BUNDLE / "vae_decoder/model.onnx", place, 1)
    session = open_session(place)
    for frames in (4, 1):
        latents = torch.randn(1, 4, frames, 4, 6, generator=torch.Generator().manual_seed(frames))
        expected = pipeline.vae.decode(latents * std + mean).sample.numpy()
        assert np.abs(session.run(None, {"latents": latents.numpy()})[0] - expected).max() < 1e-4
    names = [one.name for one in onnx.load(place).graph.initializer]
    assert sorted(name for name in names if name.startswith("decoder.")) == sorted(
        f"decoder.{name}" for name, _ in pipeline.vae.decoder.named_parameters()
    )


@pytest.mark.parametrize(
    ("shape", "frames", "cached"),
    [((3, 1, 1), 1, None), ((3, 1, 1), 4, 2), ((3, 1, 1), 2, 1), ((1, 1, 0), 3, None), (((3, 1, 1), 1, (1, 0, 0)), 2, 2),
     (((3, 1, 1), (2, 1, 1), 0), 4, None), (((3, 1, 1), (2, 1, 1), 0), 5, None)],
)  # fmt: skip
def test_a_convolution_by_frames_equals_the_official_one(shape: tuple, frames: int, cached: int | None) -> None:
    generator = torch.Generator().manual_seed(frames)
    convolution = WanCausalConv3d(5, 7, *shape)
    x = torch.randn(2, 5, frames, 6, 4, generator=generator)
    cache = None if cached is None else torch.randn(2, 5, cached, 6, 4, generator=generator)
    expected = convolution(x, cache)
    convolution.__class__ = FrameConvolution
    actual = convolution(x, cache)
    assert actual.shape == expected.shape and (actual - expected).abs().max() < 1e-5


@pytest.mark.parametrize("in_pictures", [True, False])
def test_convolutions_go_by_frames_where_they_are_asked_to(pipeline: WanPipeline, in_pictures: bool) -> None:
    kinds = {type(module) for module in Encoder(deepcopy(pipeline.vae), in_pictures).encoder.modules() if isinstance(module, WanCausalConv3d)}
    assert kinds == {FrameConvolution if in_pictures else WanCausalConv3d}


@pytest.mark.parametrize("has_rotary", [True, False])
@pytest.mark.parametrize("pictures", [0, 3])
def test_attention_equals_the_official_one(has_rotary: bool, pictures: int) -> None:
    generator = torch.Generator().manual_seed(pictures)
    heads, width, tokens = 2, 8, 10
    x = torch.randn(2, tokens, heads * width, generator=generator)
    angles = torch.randn(1, tokens, 1, width // 2, generator=generator).repeat_interleave(2, -1)
    seen = torch.randn(2, pictures + TEXT_TOKENS, heads * width, generator=generator)
    added = {"added_kv_proj_dim": heads * width, "cross_attention_dim_head": width} if pictures else {"cross_attention_dim_head": width}
    for layer, given in (
        (WanAttention(heads * width, heads, width, processor=WanAttnProcessor()), {"rotary_emb": (angles.cos(), angles.sin())}),
        (WanAttention(heads * width, heads, width, processor=WanAttnProcessor(), **added), {"encoder_hidden_states": seen}),
    ):
        randomise(layer, 1)
        expected = layer(x, **given)
        layer.set_processor(Attend(has_rotary))
        assert (layer(x, **given) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("component", ["text_encoder", "transformer", "vae"])
def test_every_weight_is_found_by_its_name(pipeline: WanPipeline, component: str) -> None:
    folders = ["vae_encoder", "vae_decoder"] if component == "vae" else [component]
    kept = {}
    for folder in folders:
        kept |= read_weights(BUNDLE / folder / "model.onnx")
    module = pipeline.components[component]
    tied = {"shared.weight": "encoder.embed_tokens.weight"}
    for name, parameter in module.named_parameters():
        found = kept.get(name, kept.get(tied.get(name, "")))
        # A kernel that is used flat lies flat.
        assert found is not None and (found.reshape(parameter.shape) == parameter.numpy()).all(), name


@pytest.mark.parametrize("side", [30, 224])
@pytest.mark.parametrize(("width", "height"), [(83, 47), (47, 83), (448, 448), (64, 120), (300, 64), (20, 26)])
def test_pictures_are_resized_and_cropped_as_the_image_processor_does(side: int, width: int, height: int) -> None:
    picture = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(width), dtype=torch.uint8)
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}, do_normalize=False)
    expected = processor(images=Image.fromarray(picture.numpy()), return_tensors="pt").pixel_values * 255
    assert torch.equal(resize_and_crop(picture.permute(2, 0, 1)[None].float(), side), expected.round())


def test_the_picture_encoder_gives_what_the_pipeline_asks_clip_for() -> None:
    pipeline = from_picture()
    picture = Image.fromarray(((moving_clip(1, 40, 56)[0, :, 0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy())
    expected = pipeline.encode_image(picture, "cpu").numpy()
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
    session = open_session(BUNDLE.with_name("tiny-wan-i2v") / "image_encoder/model.onnx")
    assert np.abs(session.run(None, {"pixels": pixels.numpy()})[0] - expected).max() < 1e-5


def test_the_tokenizer_cleans_up_white_space_and_reads_like_the_official_one(pipeline: WanPipeline) -> None:
    tokenizer = Tokenizer.from_file(str(BUNDLE / "tokenizer/tokenizer.json"))
    for clean, prompt in (("the dog runs", "  the dog\n\truns "), ("a cat, on the beach.", "a  cat, on the beach."), ("", "  \n")):
        assert tokenizer.encode(prompt).ids == pipeline.tokenizer(clean).input_ids
