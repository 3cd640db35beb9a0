"""Reads a pipeline folder as diffusers saves it: model_index.json and one folder a component."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError

from .control_nets import ControlNetFolder, control_net_folders
from .errors import ExportError

INDEX = "model_index.json"
LIBRARIES = {"diffusers": diffusers, "transformers": transformers}


@dataclass(frozen=True)
class PipelineFolder:
    path: Path
    index: dict[str, Any]
    # Those that go into the bundle beside the pipeline's components.
    control_nets: tuple[ControlNetFolder, ...] = ()

    @property
    def class_name(self) -> str:
        return str(self.index.get("_class_name"))

    def has(self, component: str) -> bool:
        """Whether the pipeline has that component; an optional one that is left out is [null, null] in the index."""
        entry = self.index.get(component)
        return isinstance(entry, list) and len(entry) == 2 and entry[1] is not None

    def require(self, components: tuple[str, ...]) -> None:
        """Raises ExportError that names every component that the index or the folder lacks."""
        missing = [name for name in components if not (self.has(name) and (self.path / name).is_dir())]
        if missing:
            raise ExportError(
                f"Expected {self.path} to hold the components {', '.join(components)} of a {self.class_name}, but it lacks "
                f"{', '.join(missing)}. Get the whole pipeline again."
            )

    def config(self, component: str) -> dict[str, Any]:
        """What config.json says of a component. Raises ExportError."""
        place = self.path / component / "config.json"
        try:
            return json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError) as cause:
            raise ExportError(f"Expected {place} to be JSON, but: {cause}. Get the whole pipeline again.") from cause

    def load(self, component: str, kind: type | tuple[type, ...]) -> Any:
        """The component in float32, ready to run; `kind` is its class or a base of it, or several of which one must be."""
        library, name = self.index[component]
        loaded_class = getattr(LIBRARIES.get(library), name, None)
        if loaded_class is None or not issubclass(loaded_class, kind):
            kinds = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
            raise ExportError(f"Expected {component} of {self.path} to be a {kinds}, got {library}.{name}.")
        place = self.path / component
        network, info = read(place, loaded_class, torch_dtype=torch.float32, output_loading_info=True)
        # Both libraries fill what is missing with random numbers, and go on. Buffers they compute.
        missing = sorted(set(info["missing_keys"]) & {key for key, _ in network.named_parameters(remove_duplicate=False)})
        if missing:
            raise ExportError(
                f"Expected {place} to have all weights of a {name}, but it lacks {len(missing)}, {missing[0]} among them. "
                "Get the whole pipeline again."
            )
        return network.eval().requires_grad_(False)


def read(place: Path, kind: Any, **options: Any) -> Any:
    """What the class makes of a component's folder. Raises ExportError."""
    try:
        return kind.from_pretrained(place, **options)
    except (OSError, ValueError, RuntimeError, AttributeError, ImportError, SafetensorError) as cause:
        raise ExportError(f"Expected {place} to load as a {kind.__name__}, but: {str(cause).rstrip('. ')}. Get the whole pipeline again.") from cause


def read_pipeline_folder(path: Path, control_nets: tuple[str, ...] = ()) -> PipelineFolder:
    """`control_nets` are FOLDER or KIND=FOLDER, in place of the pipeline's own. Raises ExportError when the folder holds no pipeline of
    diffusers."""
    index_path = path / INDEX
    if not index_path.is_file():
        raise ExportError(
            f"Expected {path} to be a pipeline folder of diffusers, with a {INDEX}, but it has none. Get the whole pipeline, or name one on "
            "the Hugging Face Hub: org/name."
        )
    try:
        index = json.loads(index_path.read_text())
    except ValueError as cause:
        raise ExportError(f"Expected {index_path} to be JSON, but: {cause}.") from cause
    if not isinstance(index, dict):
        raise ExportError(f"Expected {index_path} to be a JSON object, got a {type(index).__name__}.")
    return PipelineFolder(path, index, control_net_folders(control_nets, path))
