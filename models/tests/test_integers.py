"""Convolutions in whole numbers. Run from models/: python -m pytest tests/test_integers.py"""

import pytest
import torch

from reel_tiny import integers

torch.set_num_threads(1)


def correlated_inputs(channels: int, frames: int = 3, size: int = 16) -> torch.Tensor:
    """[N,C,H,W], channels of different sizes that share most of what is in them."""
    generator = torch.Generator().manual_seed(2)
    shared = torch.randn(frames, 4, size, size, generator=generator)
    mixed = torch.einsum("ck,nkhw->nchw", torch.randn(channels, 4, generator=generator), shared)
    own = torch.randn(frames, channels, size, size, generator=generator)
    return (mixed + 0.3 * own + 1) * torch.logspace(-1, 1, channels)[:, None, None]


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_a_convolution_in_whole_numbers_is_close_and_weights_make_up_for_each_other(kernel: int, stride: int):
    # Odd, so that the last place of a stride lies at the edge.
    x = correlated_inputs(12, size=17)
    torch.manual_seed(6)
    conv = torch.nn.Conv2d(12, 8, kernel, stride, kernel // 2).requires_grad_(False)
    seen = integers.Seen()
    seen.add(x, kernel, stride)
    rounded = integers.round_conv(conv.weight, conv.bias, seen, 1)
    assert rounded.weight.dtype == torch.int8 and rounded.weight.abs().max() <= integers.LARGEST_WEIGHT
    wanted = conv(x)

    def off(made: torch.Tensor) -> float:
        """The root of the mean squared error, as a share of the deviation of the outputs."""
        return float(((made - wanted).pow(2).mean() / wanted.var()).sqrt())

    def with_weights(rows: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """What convolutions of inputs that are not rounded give with weights [K,N] in steps."""
        weight = (rows * rounded.scale / rounded.steps.repeat(kernel**2)[:, None]).unflatten(0, (kernel, kernel, -1)).permute(3, 2, 0, 1)
        return torch.nn.functional.conv2d(x, weight, bias, stride, kernel // 2)

    exact = conv.weight.permute(2, 3, 1, 0).flatten(0, 2) * rounded.steps.repeat(kernel**2)[:, None] / rounded.scale
    assert off(with_weights(exact, conv.bias)) < 1e-5
    assert off(with_weights(rounded.weight.float(), rounded.bias)) < 0.7 * off(with_weights(exact.round(), conv.bias))
    assert off(integers.WholeConv(rounded, stride)(x)) < 0.05
    exactly = with_weights(rounded.weight.float(), rounded.bias)
    torch.testing.assert_close(integers.FloatConv(rounded, stride)(x), exactly, rtol=1e-4, atol=1e-4)


def test_steps_cover_what_was_seen_and_zero_is_told_exactly():
    x = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(4)) * torch.tensor([3.0, 300.0])[:, None, None]
    x[0, :, 0, 0] = 0
    seen = integers.Seen()
    seen.add(x, 1)
    steps, zero = integers.choose_steps(seen, 1)
    told = integers.told(x[0].flatten(1), steps, zero)
    assert zero == 32 and (told[:, 0] == 0).all()
    assert ((told - x[0].flatten(1)).abs() <= steps[:, None] / 2 + 1e-4).all() and steps[1] > 50 * steps[0]
