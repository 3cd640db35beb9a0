"""Rows, each as often, one after the other."""

from __future__ import annotations

from torch import Tensor


def repeat_rows(x: Tensor, repeats: int, dim: int, output_size: int | None = None) -> Tensor:
    """As `Tensor.repeat_interleave`; torch 2.13 exports its own function for this with a number frozen in."""
    shape = x.shape
    return x.unsqueeze(dim + 1).expand(*shape[: dim + 1], repeats, *shape[dim + 1 :]).reshape(
        *shape[:dim], shape[dim] * repeats, *shape[dim + 1 :]
    )
