"""Lays out a bundle: graphs that were held against PyTorch, the files that every bundle has, and the manifest."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from .errors import ExportError
from .graph import CPU_OPSET, OPSET, Difference, Graph, compare, write_graph
from .loop import join_into_loop
from .model_card import model_card
from .pipeline_folder import INDEX, PipelineFolder
from .precision import LARGEST_DIFFERENCE

FORMAT_VERSION = 1
CARD = "MODEL_CARD.md"

# What a bundle can be made for. On CUDA, onnxruntime-node copies every input and output through the host's memory.
DEVICES = ("any", "cpu", "cuda")


class BundleWriter:
    """A bundle on its way into a folder."""

    def __init__(self, folder: Path, dtype: str = "fp32", device: str = "any"):
        self.folder = folder
        self.dtype = dtype
        # Where the bundle is to run: one of DEVICES.
        self.device = device
        self.opset = CPU_OPSET if device == "cpu" else OPSET
        # By the graph's path: what its matrices are stored as, and the largest difference from PyTorch in float32.
        self.held: dict[str, tuple[str, Difference]] = {}

    def add_graph(self, path: str, graph: Graph) -> None:
        """Writes a graph and prints how far it is from PyTorch. Raises ExportError when that is too far."""
        # Pictures show every rounding of the VAE, which is small beside the others.
        is_vae = path.startswith("vae_")
        dtype = "fp32" if is_vae else self.dtype
        write_graph(graph, self.folder / path, dtype, self.opset, tells_sizes=not is_vae)
        self.hold(path, graph, dtype)

    def add_loop(self, path: str, first: Graph, following: Graph, whole: Graph, frames: int) -> None:
        """Writes one graph of two that hand states on: of the first frame, and of `frames` at a time. `whole` is what they are held
        against. Raises ExportError when that is too far."""
        with tempfile.TemporaryDirectory() as scratch:
            parts = [Path(scratch) / name for name in ("first.onnx", "following.onnx")]
            for graph, place in zip((first, following), parts, strict=True):
                write_graph(graph, place, "fp32", tells_sizes=False)
            join_into_loop(*parts, self.folder / path, frames)
        self.hold(path, whole, "fp32")

    def hold(self, path: str, graph: Graph, dtype: str) -> None:
        """Prints how far a graph that was written is from PyTorch. Raises ExportError when that is too far."""
        place = self.folder / path
        difference = compare(graph, place)
        size = sum(file.stat().st_size for file in place.parent.glob(f"{place.name}*"))
        print(
            f"{path}: {size / 1e6:.1f} MB as {dtype}, at most {difference.absolute:.1e} from PyTorch "
            f"in values up to {difference.largest_value:.2g}",
            flush=True,
        )
        # Written so that a difference that is no number fails too.
        largest = LARGEST_DIFFERENCE[dtype]
        if not difference.relative <= largest:
            raise ExportError(
                f"Expected {path} in onnxruntime to be within {largest} of PyTorch, got {difference.relative:.1e}. No bundle was written."
            )
        self.held[path] = dtype, difference

    def add_json(self, path: str, content: dict[str, Any]) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def add_copy(self, source: Path, path: str) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)

    def finish(self, manifest: dict[str, Any]) -> None:
        """Writes the model card and the manifest, with every file that lies in the folder."""
        (self.folder / CARD).write_text(model_card(manifest, self.held), encoding="utf-8")
        # As a share of the largest value.
        differences = {path: float(f"{one.relative:.1e}") for path, (dtype, one) in self.held.items() if dtype != "fp32"}
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        self.add_json(
            "reelspace.json",
            {
                "formatVersion": FORMAT_VERSION,
                **manifest,
                **({"device": self.device} if self.device == "cpu" else {}),
                **({"weights": {"dtype": self.dtype, "differences": differences}} if differences else {}),
                "files": [describe(self.folder, path) for path in files],
            },
        )


def describe(folder: Path, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": path.relative_to(folder).as_posix(), "sizeBytes": path.stat().st_size, "sha256": digest}


def add_shared_files(bundle: BundleWriter, folder: PipelineFolder) -> None:
    """Copies what is taken over as it is."""
    bundle.add_copy(folder.path / INDEX, INDEX)
    config = folder.path / "scheduler" / "scheduler_config.json"
    if not config.is_file():
        raise ExportError(f"Expected {config} to be there. Get the whole pipeline again.")
    bundle.add_copy(config, "scheduler/scheduler_config.json")


def license_of(folder: PipelineFolder) -> str | None:
    """The licence that the front matter of a model card names, or None."""
    card = folder.path / "README.md"
    if not card.is_file():
        return None
    front = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    found = re.search(r"^license:\s*(\S+)\s*$", front.group(1), re.MULTILINE) if front else None
    return found.group(1) if found else None
