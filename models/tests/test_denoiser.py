"""The denoiser: its limits at both ends of the noise, what t = 1 skips, its exported graph. python -m pytest tests/test_denoiser.py"""

from pathlib import Path

import numpy as np
import pytest
import torch

from export.graph import compare
from export.layout import read_weights
from reel_tiny.denoiser.export import add_denoiser, example
from reel_tiny.denoiser.network import Config, Denoiser
from reel_tiny.denoiser.train import is_hidden_matrix, share_out
from reel_tiny.export.graph import round_to_half

torch.set_num_threads(1)
SMALL = Config(widths=(16, 32, 32), encoder_blocks=(1, 1), decoder_blocks=(1, 1), middle_blocks=1, embedding=32, head_width=16)


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    """Small, with random weights everywhere, so that no part is silent."""
    generator = torch.Generator().manual_seed(0)
    model = Denoiser(SMALL).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        fan = parameter[0].numel() if parameter.ndim > 1 else 100
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan**0.5 + (parameter.ndim == 1 and "norm" in name))
    return round_to_half(model)


def test_an_untrained_network_predicts_the_best_linear_guess() -> None:
    model = Denoiser(SMALL)
    latents, _, *rest = example(3, 2, 4, 4, 5)
    sigma = torch.tensor([1.0, 0.5, 0.0])
    made = model(latents, 1000 * sigma, *rest)
    # For unit-variance data: all noise is worth itself, half and half nothing, none at all minus itself.
    assert torch.equal(made, latents * torch.tensor([1.0, 0.0, -1.0])[:, None, None, None, None])


def test_frames_see_each_other_in_a_clip(denoiser: Denoiser) -> None:
    inputs = example(1, 4, 8, 8, 5)
    before = denoiser(*inputs)
    inputs[0][:, :, 3] += 1
    after = denoiser(*inputs)
    assert (after - before)[:, :, 0].abs().max() > 1e-4


def test_a_picture_in_a_batch_is_as_alone(denoiser: Denoiser) -> None:
    inputs = example(3, 1, 8, 8, 5)
    together = denoiser(*inputs)
    alone = torch.cat([denoiser(*(x[i : i + 1] for x in inputs)) for i in range(3)])
    assert (together - alone).abs().max() < 1e-5


def test_masked_words_change_nothing(denoiser: Denoiser) -> None:
    latents, timestep, text, condition, mask = example(2, 2, 8, 8, 5)
    longer = torch.cat([text, torch.zeros(2, 3, text.shape[2])], 1)
    assert (denoiser(latents, timestep, longer, condition, mask) - denoiser(latents, timestep, text, condition, mask)).abs().max() < 1e-5


def test_condition_latents_count_only_where_the_mask_says(denoiser: Denoiser) -> None:
    latents, timestep, text, condition, mask = example(1, 2, 8, 8, 5)
    elsewhere = condition + (mask.amax(1, keepdim=True) == 0)
    assert torch.equal(denoiser(latents, timestep, text, elsewhere, mask), denoiser(latents, timestep, text, condition, mask))


def test_exported_graph_equals_pytorch_at_every_shape(denoiser: Denoiser, tmp_path: Path) -> None:
    path = tmp_path / "transformer/model.onnx"
    assert compare(add_denoiser(denoiser, path), path).relative < 1e-4
    weights = read_weights(path)
    for name, parameter in denoiser.named_parameters():
        assert np.array_equal(weights[name].astype(np.float32), parameter.numpy())
        assert weights[name].dtype == (np.float16 if parameter.ndim >= 2 else np.float32)


def test_every_parameter_has_one_owner() -> None:
    model = Denoiser(SMALL)
    owned = share_out(model, 2)
    names = [name for name, _ in model.named_parameters()]
    assert sorted(owned[0] + owned[1]) == sorted(names)
    matrices = [sum(p.numel() for n, p in model.named_parameters() if n in part and is_hidden_matrix(n, p)) for part in owned]
    assert min(matrices) > 0.5 * max(matrices)
