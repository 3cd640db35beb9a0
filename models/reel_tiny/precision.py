"""Which numbers networks are trained with."""

from __future__ import annotations

import torch


def autocast(device: torch.device, exact: bool = False) -> torch.autocast:
    """bfloat16 where the device calculates in it, unless it is to be `exact`. A CPU that does not works it out six times slower than float32."""
    is_fast = device.type != "cpu" or any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "bf16"))
    return torch.autocast(device.type, torch.bfloat16, enabled=is_fast and not exact)


def training_device(name: str) -> torch.device:
    """The device, which is to try its ways of convolving on the few shapes that training has, and keep to the fastest."""
    torch.backends.cudnn.benchmark = True
    return torch.device(name)
