"""Exports both halves of the VAE as ONNX graphs with explicit causal state.

    python -m reel_tiny.vae.export --checkpoint DIR/checkpoint.pt --out reel-tiny

Initialisers keep the names that parameters have in PyTorch. Each graph is checked against PyTorch in onnxruntime, at
the size it was exported with and at another.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir.passes.common as passes
import onnxruntime
import torch
from onnxscript import optimizer
from torch import Tensor, nn

from . import load_vae
from .model import LATENT_CHANNELS, SPATIAL, STATE_FRAMES, TEMPORAL, Half

OPSET = 20
LAYOUT_OPS = ("Transpose", "Cast", "CastLike", "Reshape", "Unsqueeze", "Identity")


def example(half: Half, is_encoder: bool, frames: int, height: int, width: int, batch: int = 1) -> tuple[Tensor, ...]:
    """Random inputs of a half: the clip and its states."""
    generator = torch.Generator().manual_seed(frames * height + width)
    clip = (batch, 3, frames, height, width)
    if not is_encoder:
        clip = (batch, LATENT_CHANNELS, frames // TEMPORAL, height // SPATIAL, width // SPATIAL)
    x = torch.rand(clip, generator=generator) * 2 - 1
    states = half.empty_states(batch, height, width, x)
    return x, *(torch.randn(s.shape, generator=generator) for s in states)


def export_half(half: Half, is_encoder: bool, path: Path) -> None:
    source, target = ("pixels", "latents") if is_encoder else ("latents", "pixels")
    count = len(half.state_specs)
    inputs = [source] + [f"state_in_{i}" for i in range(count)]
    outputs = [target] + [f"state_out_{i}" for i in range(count)]
    free = torch.export.Dim.DYNAMIC
    shapes = ({2: free, 3: free, 4: free}, tuple({3: free, 4: free} for _ in range(count)))
    write_graph(half, example(half, is_encoder, 8, 32, 48), inputs, outputs, shapes, path)
    label_axes(path, {2: "time", 3: "height", 4: "width"})


def write_graph(module: nn.Module, arguments: tuple, inputs: list[str], outputs: list[str], shapes: tuple, path: Path) -> None:
    """Writes a tidy graph whose initialisers keep the module's parameter names; `shapes` as for torch.onnx.export."""
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            module, arguments, input_names=inputs, output_names=outputs, dynamic_shapes=shapes,
            dynamo=True, opset_version=OPSET, optimize=False, verbose=False,
        )  # fmt: skip
    model = program.model
    named = {name for name, _ in module.named_parameters()}

    def should_fold(node) -> bool | None:
        """Folding a layout change of a parameter would lose the parameter's name."""
        if node.op_type in LAYOUT_OPS and any(v is not None and v.name in named for v in node.inputs):
            return False
        return None

    passes.InlinePass()(model)
    for _ in range(3):
        optimizer.fold_constants(model, onnx_shape_inference=True, input_size_limit=8192, output_size_limit=262144, should_fold=should_fold)
        passes.RemoveUnusedNodesPass()(model)
    for tidy in (
        passes.IdentityEliminationPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.RemoveUnusedFunctionsPass(),
        passes.RemoveUnusedOpsetsPass(),
    ):
        tidy(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    program.save(str(path), external_data=False)
    clear_traces(path)
    missing = named - {i.name for i in onnx.load(path).graph.initializer}
    if missing:
        raise RuntimeError(f"Expected every parameter to keep its name, got none for {sorted(missing)}.")


def clear_traces(path: Path) -> None:
    """Drops the stack traces and file paths that the exporter writes beside nodes and values; names the graph."""
    model = onnx.load(path)
    for item in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        if hasattr(item, "metadata_props"):
            del item.metadata_props[:]
        item.doc_string = ""
    for initializer in model.graph.initializer:
        del initializer.metadata_props[:]
        initializer.doc_string = ""
    model.graph.name = path.parent.name
    model.producer_name, model.producer_version = "reelspace", ""
    onnx.save(model, path)


def label_axes(path: Path, labels: dict[int, str]) -> None:
    """Gives the free axes of inputs and outputs names that can be read; drops inner shapes, which use the old ones."""
    model = onnx.load(path)
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                dim.dim_param = f"{value.name}_{labels[axis]}"
    onnx.save(model, path)


def largest_difference(half: Half, is_encoder: bool, path: Path, frames: int, height: int, width: int) -> float:
    """The largest absolute difference of any output between onnxruntime and PyTorch."""
    arguments = example(half, is_encoder, frames, height, width)
    session = open_session(path, 1)
    feed = {i.name: x.numpy() for i, x in zip(session.get_inputs(), arguments, strict=True)}
    with torch.no_grad():
        expected = half(*arguments)
    actual = session.run(None, feed)
    return max(float(np.abs(a - e.numpy()).max()) for a, e in zip(actual, expected, strict=True))


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def describe_states(half: Half) -> list[dict]:
    return [{"channels": s.channels, "frames": STATE_FRAMES, "spatialDivisor": s.divisor} for s in half.state_specs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    a = parser.parse_args()
    torch.set_num_threads(1)
    vae = load_vae(a.checkpoint)
    halves: list[tuple[str, nn.Module, bool]] = [("encoder", vae.encoder, True), ("decoder", vae.decoder, False)]
    for name, half, is_encoder in halves:
        path = a.out / f"vae_{name}" / "model.onnx"
        export_half(half, is_encoder, path)
        worst = max(largest_difference(half, is_encoder, path, *size) for size in ((8, 32, 48), (4, 72, 40), (20, 64, 64)))
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, at most {worst:.1e} from PyTorch", flush=True)
        if worst > 1e-4:
            raise RuntimeError(f"Expected the {name} in onnxruntime to be within 1e-4 of PyTorch, got {worst:.1e}.")
    states = {name: describe_states(half) for name, half, _ in halves}
    (a.out / "vae_state.json").write_text(json.dumps(states, indent=2) + "\n")


if __name__ == "__main__":
    main()
