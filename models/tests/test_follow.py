"""Drafts that are followed where the words ask for it. python -m pytest tests/test_follow.py"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from export.graph import compare
from reel_tiny.denoiser.export import add_denoiser, example, examples
from reel_tiny.denoiser.follow import COVERED, Follow, covered
from reel_tiny.denoiser.integers import following
from reel_tiny.denoiser.learn_follow import COUNTED, GREY, error, learn, pixels
from reel_tiny.denoiser.network import Config, Denoiser
from reel_tiny.denoiser.planner import DRAFT_CHANNELS, MOMENTS, PICTURE, THINGS, draft
from reel_tiny.export.graph import round_to_half
from reel_tiny.weights import fill, read_graph

torch.set_num_threads(1)
SMALL = Config(widths=(16, 32, 32), encoder_blocks=(1, 1), decoder_blocks=(1, 1), coarse_blocks=1, embedding=32, head_width=16, follows=True)


def middle(size: float, frames: int = 3) -> Tensor:
    """Poses [1, t, 4, 5] of what stands upright in the middle."""
    return torch.tensor([0.5, 0.5, size, 1.0, 0.0]).expand(1, frames, MOMENTS, 5)


@pytest.fixture
def follow() -> Follow:
    torch.manual_seed(0)
    made = Follow(192, 16).requires_grad_(False)
    for name, parameter in made.named_parameters():
        if name.endswith("weight"):
            parameter.copy_(torch.randn(parameter.shape) / parameter[0].numel() ** 0.5)
    return made


@pytest.fixture
def denoiser() -> Denoiser:
    """Small, with random weights; each thing is a grey square in the middle, and all words ask for it to be followed."""
    torch.manual_seed(1)
    model = Denoiser(SMALL).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.add_(torch.randn(parameter.shape) / (parameter[0].numel() if parameter.ndim > 1 else 100) ** 0.5)
    model.planner.pictures.copy_(torch.full((THINGS, 4 * PICTURE**2), 100))
    model.planner.course[2].weight.zero_()
    model.planner.course[4].weight.zero_()
    model.planner.course[4].bias.copy_(middle(0.6, 1).flatten())
    model.follow.hides.weight.mul_(0.01)
    model.follow.hides.bias.fill_(10)
    return round_to_half(model)


def test_the_draft_is_followed_where_the_thing_is(follow: Follow) -> None:
    black = torch.tensor([0.0, 0, 0, 1])[None, :, None, None].expand(1, 4, PICTURE, PICTURE)
    drafts = draft(black, middle(0.5), 8, 8)[None]
    follow.hides.bias.fill_(1)
    follow.hides.weight.zero_()
    latents, mask = follow(drafts, torch.zeros(1, 192), torch.zeros(1, 16, 3, 8, 8), torch.zeros(1, 2, 3, 8, 8))
    inside = torch.zeros(8, 8)
    inside[2:6, 2:6] = 1
    assert torch.equal(mask, torch.stack([torch.zeros(8, 8), inside])[None, :, None].expand(1, 2, 3, 8, 8))
    assert torch.equal(latents, follow.encode(drafts) * inside)
    assert latents.abs().amax() > 0.1


def test_nothing_is_followed_where_no_words_ask_for_it_or_a_condition_is_given(denoiser: Denoiser) -> None:
    plain = copy.deepcopy(denoiser)
    plain.follow = None
    latents, timestep, text, condition, mask = example(2, 3, 8, 8, 5)
    assert torch.equal(denoiser(latents, timestep, text, condition, mask), plain(latents, timestep, text, condition, mask))
    nothing = torch.zeros_like(mask)
    assert (denoiser(latents, timestep, text, condition, nothing) - plain(latents, timestep, text, condition, nothing)).abs().amax((1, 2, 3, 4)).min() > 1e-3
    # One position of one clip of a batch.
    nothing[1, 0, 2, 3, 3] = 1
    made, known = denoiser(latents, timestep, text, condition, nothing), plain(latents, timestep, text, condition, nothing)
    assert not torch.equal(made[0], known[0]) and torch.equal(made[1], known[1])
    denoiser.follow.hides.bias.fill_(-10)
    nothing.zero_()
    assert torch.equal(denoiser(latents, timestep, text, condition, nothing), plain(latents, timestep, text, condition, nothing))


def test_what_comes_later_in_a_draft_changes_nothing_before_it(follow: Follow) -> None:
    g = torch.Generator().manual_seed(2)
    drafts = torch.rand(1, 5, DRAFT_CHANNELS, 8, 8, generator=g)
    before = follow.encode(drafts)
    drafts[:, 2] += 1
    changed = (follow.encode(drafts) - before).abs().amax((0, 1, 3, 4)) > 1e-4
    assert changed.tolist() == [False, False, True, True, False]


def test_a_graph_follows_as_pytorch_does_and_is_read_back(denoiser: Denoiser, tmp_path: Path) -> None:
    asked = examples(denoiser)[-1]
    plain = copy.deepcopy(denoiser)
    plain.follow = None
    assert (denoiser(*asked) - plain(*asked)).abs().amax() > 1e-3
    path = tmp_path / "transformer/model.onnx"
    assert compare(add_denoiser(denoiser, path), path).relative < 1e-4
    again = Denoiser(SMALL).requires_grad_(False)
    fill(again, read_graph(path)[1])
    torch.testing.assert_close(again(*asked), denoiser(*asked))


@pytest.mark.parametrize("had", [False, True])
def test_what_was_learnt_is_put_into_a_denoiser_and_all_else_stays(denoiser: Denoiser, had: bool, tmp_path: Path) -> None:
    torch.save(denoiser.follow.state_dict(), tmp_path / "follow.pt")
    other = copy.deepcopy(denoiser)
    other.exporting = True
    if had:
        other.follow.out.bias.fill_(7)
    else:
        other.follow = None
    made = following(other, tmp_path / "follow.pt")
    assert made.exporting and not made.training
    assert [(name, bool(torch.equal(a, b))) for (name, a), b in zip(made.state_dict().items(), denoiser.state_dict().values(), strict=True)] == [
        (name, True) for name in denoiser.state_dict()
    ]


def test_a_draft_is_encoded_from_the_picture_at_its_place_over_grey() -> None:
    picture = torch.zeros(1, 4, PICTURE, PICTURE)
    picture[:, 0], picture[:, 3] = 1, 1
    clip = pixels(picture, middle(0.5))
    assert clip.shape == (2 * MOMENTS + 1, 128, 128, 3)
    assert (clip[:, 34:94, 34:94] == (255, 0, 0)).all()
    assert (clip[:, :30] == round(255 * GREY)).all() and (clip[:, :, 98:] == round(255 * GREY)).all()
    # It moves with its poses, of which the first latent frame has one.
    moved = middle(0.25).clone()
    moved[:, 1, 2, 0] = 0.25
    columns = [frame[64, :, 1].argmin() + 16 for frame in pixels(picture, moved)]
    assert np.allclose(columns, [64, 64, 64, 32, 64, 64, 64, 64, 64], atol=2)


def test_what_counts_is_where_the_thing_is(follow: Follow) -> None:
    drafts = draft(torch.ones(1, 4, PICTURE, PICTURE), middle(0.5), 8, 8)[None]
    latents = follow.encode(drafts)
    assert error(follow, drafts, latents) == 0
    assert COUNTED < COVERED
    elsewhere = 3 * (covered(drafts) <= COUNTED)[:, None]
    assert error(follow, drafts, latents + elsewhere) == 0
    assert error(follow, drafts, latents + 3) == pytest.approx(9, rel=1e-4)


def test_learning_ends_in_time_with_less_error() -> None:
    value, told = torch.nn.Parameter(torch.tensor([3.0])), []
    learn([value], 0.05, 1.0, lambda: value.square().sum(), lambda: told.append(value.item()) or "")
    assert abs(value.item()) < 0.1 and told
