"""Runs reel-tiny in PyTorch on request, a JSON object a line: python -m bench.serve BUNDLE THREADS

    {"call": "prepare", "network": "vae_encoder", "inputs": {"pixels": {"path": "pixels.f32", "shape": [1, 3, 25, 128, 128]}}}
    {"call": "run", "network": "vae_encoder", "bfloat16": false, "output": "latents.f32"}

Tensors are files of little-endian float32. The answer to `run` says how many seconds the network took, without reading
its inputs or writing its output, and how many of the processor's; without `output`, nothing is written. An answer with `error` says what
went wrong.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reel_tiny.weights import load_denoiser, load_vae

Network = Callable[[], Tensor]
# Given the bundle, a network's name and its inputs.
Prepare = Callable[[Path, str, dict[str, Tensor]], Network]


def read_tensor(path: str, shape: list[int]) -> Tensor:
    return torch.from_numpy(np.fromfile(path, "<f4").reshape(shape))


def guided_step(bundle: Path, latents: Tensor, timestep: Tensor, sigmas: Tensor, prompt_embeds: Tensor, scale: Tensor) -> Network:
    """One step of Euler's method with guidance: prompt and negative prompt in one batch, as diffusers does it."""
    denoiser = load_denoiser(bundle)
    condition = latents.new_zeros(2, *latents.shape[1:])
    mask = latents.new_zeros(2, 2, *latents.shape[2:])

    def step() -> Tensor:
        both = latents.expand(2, -1, -1, -1, -1)
        wanted, unwanted = denoiser(both, timestep.expand(2), prompt_embeds, condition, mask).chunk(2)
        return latents + (sigmas[1] - sigmas[0]) * (unwanted + scale * (wanted - unwanted))

    return step


def prepare(bundle: Path, network: str, inputs: dict[str, Tensor]) -> Network:
    if network == "denoise_step":
        return guided_step(bundle, **inputs)
    vae = load_vae(bundle)
    if network == "vae_encoder":
        return lambda: vae.encode(inputs["pixels"])
    return lambda: vae.decode(inputs["latents"])


def answer(request: dict, bundle: Path, networks: dict[str, Network], prepare: Prepare) -> dict:
    if request["call"] == "prepare":
        inputs = {name: read_tensor(**tensor) for name, tensor in request["inputs"].items()}
        networks[request["network"]] = prepare(bundle, request["network"], inputs)
        return {}
    run = networks[request["network"]]
    with torch.autocast("cpu", torch.bfloat16, enabled=request["bfloat16"]):
        start, start_cpu = time.perf_counter(), time.process_time()
        result = run()
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    if "output" in request:
        result.float().contiguous().numpy().astype("<f4", copy=False).tofile(request["output"])
    return {"seconds": seconds, "cpuSeconds": cpu}


@torch.inference_mode()
def serve(prepare: Prepare) -> None:
    bundle, threads = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    networks: dict[str, Network] = {}
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), bundle, networks, prepare)
        except Exception as error:  # noqa: BLE001 (whatever it is, the other side reports it)
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    serve(prepare)
