"""What rests settles, what moves stays. python -m pytest tests/test_settle.py"""

import pytest
import torch
from torch import Tensor

from reel_tiny.denoiser.settle import NEAR, NONE, WHOLE, settle, settled


def clip(apart: float, frames: int = 7) -> Tensor:
    """One picture [1, 16, t, 9, 6] whose frames lie that far from each other at each position, in the mean."""
    g = torch.Generator().manual_seed(3)
    picture = torch.randn(1, 16, 1, 9, 6, generator=g)
    return picture + apart / 32**0.5 * torch.randn(1, 16, frames, 9, 6, generator=g)


def twitch(x: Tensor) -> float:
    """Distance of neighbouring frames, mean over positions."""
    return float(x.diff(dim=2).norm(dim=1).mean())


def test_what_rests_becomes_its_mean() -> None:
    noisy = clip(0.3)
    assert twitch(noisy) == pytest.approx(0.3, rel=0.05)
    made = settle(noisy)
    assert twitch(made) < 0.1 * twitch(noisy)
    torch.testing.assert_close(made.mean(2), noisy.mean(2), atol=0.01, rtol=0)


def test_what_moves_stays_also_beside_what_rests() -> None:
    moving = clip(8 * NEAR)
    torch.testing.assert_close(settle(moving), moving, atol=2e-3, rtol=0)
    both = torch.cat([clip(0.2), moving], 4)
    made = settle(both)
    torch.testing.assert_close(made[..., 6:], moving, atol=2e-3, rtol=0)
    # The column that touches what moves is held by it.
    assert twitch(made[..., :5]) < 0.1 * twitch(both[..., :5]) and twitch(made[..., 5:6]) > 0.9 * twitch(both[..., 5:6])


def test_a_position_returns_to_what_it_was_before_something_passed() -> None:
    x = clip(0.3)
    x[:, :, 3] += 3
    made = settle(x)
    rest = [0, 1, 2, 4, 5, 6]
    torch.testing.assert_close(made[:, :, 3], x[:, :, 3])
    assert twitch(made[:, :, rest]) < 0.1 * twitch(x[:, :, rest])


def test_each_frame_counts_by_how_near_it_lies() -> None:
    values = torch.tensor([0.0, 0.5, 1.5])
    weights = torch.exp(-((values[:, None] - values) ** 2) / (2 * NEAR**2))
    expected = weights @ values / weights.sum(1)
    torch.testing.assert_close(settle(values.view(1, 1, 3, 1, 1)).flatten(), expected)


def test_a_single_frame_and_frames_that_are_alike_stay_as_they_are() -> None:
    x = clip(0.3, frames=1)
    assert torch.equal(settle(x), x)
    torch.testing.assert_close(settle(x.expand(-1, -1, 5, -1, -1)), x.expand(-1, -1, 5, -1, -1))


@pytest.mark.parametrize(("sigma", "share"), [(0.1, 1), (WHOLE, 1), ((WHOLE + NONE) / 2, 0.5), (NONE, 0), (1.0, 0)])
def test_a_prediction_settles_as_its_noise_level_allows(sigma: float, share: float) -> None:
    clean, level = clip(0.3), torch.tensor([sigma])
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(4))
    latents = (1 - level) * clean + level * noise
    made = latents - level * settled(noise - clean, latents, level)
    torch.testing.assert_close(made, clean + share * (settle(clean) - clean), atol=1e-4, rtol=1e-4)
