"""The modules of reel-tiny with the weights of an exported bundle: to train on from them, and to run the same network
on both sides of a benchmark.

Initialisers of the graphs keep their PyTorch parameter names. Only the latents' mean and deviation lose theirs, as the
exporter folds their reshapes: those are found by the operation that takes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import torch
from export.layout import read_weights
from torch import Tensor, nn

from .denoiser.network import Config, Denoiser
from .integers import float_weight
from .vae.model import CausalVae, VaeConfig

Weights = dict[str, Tensor]
Module = TypeVar("Module", bound=nn.Module)


def read_graph(path: Path) -> tuple[onnx.GraphProto, Weights]:
    """A graph and its weights by name: as float32 its floating-point initialisers and those of each FloatConv, and as they are other bytes."""
    arrays = read_weights(path)
    weights = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items() if np.issubdtype(array.dtype, np.floating)}
    for name, array in arrays.items():
        module = name.removesuffix(".weight")
        if array.dtype == np.int8 and f"{module}.scale" not in weights:
            weights[name] = torch.tensor(array)
        elif array.dtype == np.int8:
            scale, inverse = weights.pop(f"{module}.scale"), weights.pop(f"{module}.inverse")
            weights[name] = float_weight(torch.tensor(array), scale, inverse, round((len(array) / len(inverse)) ** 0.5))
    return onnx.load(path).graph, weights


def depth(weights: Weights, name: str) -> int:
    """How many blocks the list of that name has."""
    return len({key.split(".")[1] for key in weights if key.startswith(f"{name}.")})


def latent_statistic(graph: onnx.GraphProto, weights: Weights, operation: str) -> Tensor:
    """The constant [16] by which latents are shifted or scaled: the one unnamed [16, 1, 1] that the operation takes."""
    operands = {name for node in graph.node if node.op_type == operation for name in node.input}
    found = [x for name, x in weights.items() if name in operands and "." not in name and x.shape == (16, 1, 1)]
    if len(found) != 1:
        raise ValueError(f"Expected one constant of shape [16, 1, 1] at {operation}, got {len(found)}. Look at the export.")
    return found[0].flatten()


def load_vae(path: Path) -> CausalVae:
    """The VAE of a bundle's folder, or of a checkpoint: there the averaged weights."""
    if path.is_dir():
        return _bundled_vae(path)
    saved = torch.load(path, map_location="cpu", weights_only=True)
    vae = CausalVae(VaeConfig.from_dict(saved["config"]))
    vae.load_state_dict(saved["ema"])
    return vae.eval()


def _bundled_vae(bundle: Path) -> CausalVae:
    encoder_graph, encoder = read_graph(bundle / "vae_encoder/model.onnx")
    decoder_graph, decoder = read_graph(bundle / "vae_decoder/model.onnx")
    vae = CausalVae(
        VaeConfig(
            encoder_widths=(len(encoder["stem.weight"]), len(encoder["down.weight"])),
            encoder_depths=(depth(encoder, "fine"), depth(encoder, "coarse")),
            decoder_widths=(decoder["spread.weight"].shape[1], len(decoder["stem.weight"])),
            decoder_depths=(depth(decoder, "fine"), depth(decoder, "coarse")),
            thin=decoder["paint.weight"].shape[1],
        )
    )
    encoder |= {
        "latent_mean": latent_statistic(encoder_graph, encoder, "Sub"),
        "latent_std": latent_statistic(encoder_graph, encoder, "Div"),
    }
    decoder |= {
        "latent_mean": latent_statistic(decoder_graph, decoder, "Add"),
        "latent_std": latent_statistic(decoder_graph, decoder, "Mul"),
    }
    fill(vae.encoder, encoder | frames_apart(encoder))
    fill(vae.decoder, decoder | frames_apart(decoder))
    return vae.eval()


def frames_apart(weights: Weights) -> Weights:
    """The convolutions of each FloatTime one by one, as a CausalTime has them."""
    apart: Weights = {}
    for name in (name for name in weights if name.endswith(".mix.weight")):
        time = name.removesuffix(".mix.weight")
        early, middle, late = weights[name].chunk(3, 1)
        apart |= {f"{time}.early.weight": early, f"{time}.middle.weight": middle, f"{time}.late.weight": late, f"{time}.late.bias": weights[f"{time}.mix.bias"]}
    return apart


def grow_vae(path: Path) -> CausalVae:
    """A VAE of today's size with the weights of a bundle or a checkpoint. Blocks that those lack start as nothing."""
    return grown(CausalVae(), load_vae(path))


def load_denoiser(path: Path) -> Denoiser:
    """The denoiser of a bundle's folder, or of a checkpoint: there the averaged weights."""
    return (_bundled_denoiser(path) if path.is_dir() else _trained_denoiser(path)).eval()


def _trained_denoiser(checkpoint: Path) -> Denoiser:
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    config = {name: tuple(value) if isinstance(value, list) else value for name, value in saved["config"].items()}
    denoiser = Denoiser(Config(**config))
    denoiser.load_state_dict(saved["ema"])
    return denoiser


def _bundled_denoiser(bundle: Path) -> Denoiser:
    _, weights = read_graph(bundle / "transformer/model.onnx")
    denoiser = Denoiser(
        Config(
            latent_channels=len(weights["out.weight"]),
            text_width=weights["text_embedding.0.weight"].shape[1],
            widths=tuple(len(weights[f"{name}.weight"]) for name in ("stem", "down1", "down2")),
            encoder_blocks=(depth(weights, "fine_in"), depth(weights, "middle_in")),
            decoder_blocks=(depth(weights, "fine_out"), depth(weights, "middle_out")),
            coarse_blocks=depth(weights, "coarse"),
            embedding=len(weights["sigma_embedding.0.weight"]),
            things=len(weights["planner.thing.weight"]),
            follows="follow.read.weight" in weights,
        )
    )
    fill(denoiser, weights)
    return denoiser


@torch.no_grad()
def mean_of(modules: Sequence[Module], shares: Sequence[float] | None = None) -> Module:
    """The first one with the mean of all their parameters, weighted by `shares` if there are any, and with its own buffers and whole numbers."""
    if shares is not None and len(shares) != len(modules):
        raise ValueError(f"Expected a share of each of the {len(modules)} networks, got {len(shares)}.")
    weights = torch.tensor(shares or [1.0] * len(modules))
    if weights.sum() <= 0:
        raise ValueError(f"Expected shares whose sum is above 0, got {shares}.")
    for name, parameter in modules[0].named_parameters():
        if not parameter.is_floating_point():
            continue
        parameter.copy_(torch.tensordot(weights / weights.sum(), torch.stack([module.get_parameter(name) for module in modules]), 1))
    return modules[0]


def grow_denoiser(path: Path, std_ratio: Tensor | None = None) -> Denoiser:
    """A denoiser of today's size with the weights of a bundle or a checkpoint. Blocks and layers that those lack start as nothing.
    What follows drafts is left out: it is learnt after all else (see denoiser/follow.py).

    `std_ratio` [16]: deviations of the latents that it is to make, before they are normalised, over those of the latents that it made. From a VAE that
    differs in them alone it then makes the same, from noise that is a little too strong or weak for the noise level that it is told, which a short
    training mends; the shift of their means is left to that too.
    """
    known = load_denoiser(path)
    known.follow = None
    denoiser = grown(Denoiser(Config()), known)
    if std_ratio is not None:
        rescale(denoiser, std_ratio)
    return denoiser


@torch.no_grad()
def rescale(denoiser: Denoiser, ratio: Tensor) -> None:
    """Makes a denoiser of latents `ratio` [16] x into one of latents x."""
    given = torch.cat([ratio, ratio, ratio.new_ones(2)])  # noisy latents, condition latents, masks
    denoiser.stem.weight.mul_(given[:, None, None])
    denoiser.out.weight.div_(ratio[:, None, None, None])
    denoiser.out.bias.div_(ratio)


def grown(module: Module, known: Module) -> Module:
    """The first one with all weights of the second one; what it has besides stays as it is. Throws when it lacks one."""
    weights = known.state_dict()
    lost = sorted(weights.keys() - module.state_dict().keys())
    if lost:
        raise ValueError(f"Expected a network no larger than today's, got {len(lost)} weights that it lacks, {lost[0]} first. Train on from a smaller one.")
    module.load_state_dict({name: weights.get(name, start) for name, start in module.state_dict().items()})
    return module


def fill(module: nn.Module, weights: Weights) -> None:
    """Loads every parameter and buffer of the module; throws when one is missing or has another shape."""
    names = module.state_dict().keys()
    missing = sorted(names - weights.keys())
    if missing:
        raise ValueError(f"Expected the graph to hold every parameter, got none for {missing}. Bench a model of this family.")
    module.load_state_dict({name: weights[name] for name in names})
