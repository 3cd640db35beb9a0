"""Writes test/goldens/dtypes.safetensors: the same numbers in each type that src/tensor/safetensors.ts reads.

Run from the repository root: python models/goldens/make_safetensors.py.
"""

import torch
from safetensors.torch import save_file

NUMBERS = [0.0, -0.0, 1.0, -2.5, 65504.0, 2.0**-24, -(2.0**-14), 1 / 3, float("inf"), float("-inf"), 1e-30, 3.14159]


def main():
    values = torch.tensor(NUMBERS).reshape(3, 4)
    halves, brains = values.to(torch.float16), values.to(torch.bfloat16)
    arrays = {
        "f32": values,
        "f16": halves,
        "f16_as_f32": halves.float(),
        "bf16": brains,
        "bf16_as_f32": brains.float(),
        "f64": values.double(),
        "i64": torch.tensor([[-(2**53) - 1, 0, 2**62]]),
        "u8": torch.tensor([0, 7, 255], dtype=torch.uint8),
        "scalar": torch.tensor(0.75),
        "empty": torch.zeros(0, 4),
    }
    save_file(arrays, "test/goldens/dtypes.safetensors", {"note": "naïve ☃"})


if __name__ == "__main__":
    main()
