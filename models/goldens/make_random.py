"""Writes test/goldens/random.safetensors: draws of torch's CPU generator, which src/tensor/random.ts must repeat bit by bit.

Run from the repository root: python models/goldens/make_random.py. Needs torch on a CPU with AVX2.
"""

import torch
from safetensors.torch import save_file

SEEDS = [0, 42, 2**32 - 1, 2**32 + 7, 2**53 - 1, 2**64 - 1]
SIZES = [1, 2, 5, 15, 16, 17, 31, 32, 33, 100, 1000, 1023]
# Sizes drawn one after another from one generator: odd counts below 16 leave half a pair behind for the next such draw.
SEQUENCES = {"mixed": [1, 16, 1, 5, 33, 2, 15, 100, 3, 17], "blocks": [16, 48, 1000, 640], "single": [1] * 7}


def main():
    torch.set_num_threads(1)
    arrays = {}
    for seed in SEEDS:
        for size in SIZES:
            arrays[f"{seed}/{size}"] = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    for name, sizes in SEQUENCES.items():
        generator = torch.Generator().manual_seed(1234)
        for index, size in enumerate(sizes):
            arrays[f"{name}/{index}"] = torch.randn(size, generator=generator)
    arrays["long"] = torch.randn(2, 3, 5, 7, 101, generator=torch.Generator().manual_seed(7))
    save_file(arrays, "test/goldens/random.safetensors", {"torch": torch.__version__})


if __name__ == "__main__":
    main()
