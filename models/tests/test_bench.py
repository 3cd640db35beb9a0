"""The bench's networks hold the weights of the exported graphs. Run from models/: python -m pytest tests/test_bench.py"""

from pathlib import Path

import pytest
import torch
from torch import nn

from export.graph import write_graph
from reel_tiny.denoiser.export import add_denoiser
from reel_tiny.denoiser.network import Config, Denoiser
from reel_tiny.export.graph import round_to_half
from reel_tiny.vae import CausalVae, VaeConfig
from reel_tiny.vae.export import half_graph
from reel_tiny.weights import load_denoiser, load_vae

torch.set_num_threads(1)


def randomise(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))


def assert_same_weights(actual: nn.Module, expected: nn.Module) -> None:
    torch.testing.assert_close(actual.state_dict(), expected.state_dict(), rtol=0, atol=0)


def test_the_vae_of_a_bundle_comes_back_whole(tmp_path: Path):
    vae = CausalVae(VaeConfig(encoder_widths=(8, 12), encoder_depths=(1, 2), decoder_widths=(12, 20), decoder_depths=(3, 1), thin=4)).eval()
    randomise(vae)
    vae.set_latent_statistics(torch.linspace(-0.2, 0.2, 16), torch.linspace(0.5, 1.5, 16))
    write_graph(half_graph(vae.encoder, True), tmp_path / "vae_encoder/model.onnx")
    write_graph(half_graph(vae.decoder, False), tmp_path / "vae_decoder/model.onnx")
    loaded = load_vae(tmp_path)
    assert loaded.config == vae.config
    assert_same_weights(loaded, vae)


@pytest.fixture(scope="module")
def denoiser_bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Denoiser]:
    denoiser = Denoiser(Config(widths=(64, 64, 128), encoder_blocks=(1, 2), decoder_blocks=(3, 1), coarse_blocks=1, embedding=16)).eval()
    randomise(denoiser)
    bundle = tmp_path_factory.mktemp("bundle")
    add_denoiser(denoiser, bundle / "transformer/model.onnx")
    return bundle, denoiser


def test_the_denoiser_of_a_bundle_comes_back_as_it_is_stored(denoiser_bundle: tuple[Path, Denoiser]):
    bundle, denoiser = denoiser_bundle
    loaded = load_denoiser(bundle)
    assert loaded.config == denoiser.config
    assert_same_weights(loaded, round_to_half(denoiser))


def test_weights_of_another_family_are_refused(denoiser_bundle: tuple[Path, Denoiser], tmp_path: Path):
    (tmp_path / "transformer").symlink_to(denoiser_bundle[0] / "transformer")
    for half in ("vae_encoder", "vae_decoder"):
        (tmp_path / half).symlink_to(denoiser_bundle[0] / "transformer")
    with pytest.raises((KeyError, ValueError)):
        load_vae(tmp_path)
