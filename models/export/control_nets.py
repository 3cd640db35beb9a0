"""ControlNets that are to go into a bundle: their folders, and what the pictures show that each goes by."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import ControlNetModel

from .errors import ExportError

# What a picture shows, by words in the names that nets are published under.
KINDS = {
    "canny": "edges", "depth": "depth", "openpose": "pose", "normal": "normal", "scribble": "scribble", "softedge": "softedge",
    "hed": "softedge", "lineart": "lineart", "mlsd": "lines", "seg": "segments", "tile": "tile",
}  # fmt: skip


@dataclass(frozen=True)
class ControlNetFolder:
    # What `--control` calls it.
    kind: str
    path: Path

    def load(self) -> ControlNetModel:
        """In float32, ready to run."""
        try:
            model = ControlNetModel.from_pretrained(self.path, torch_dtype=torch.float32)
        except (OSError, ValueError, RuntimeError) as cause:
            raise ExportError(f"Expected {self.path} to load as a ControlNetModel, but: {cause}") from cause
        return model.eval().requires_grad_(False)


def control_net_folders(asked: tuple[str, ...], pipeline: Path) -> tuple[ControlNetFolder, ...]:
    """Those that were asked for as FOLDER or KIND=FOLDER, and where none was, the pipeline's own. Raises ExportError."""
    own = (path for path in sorted(pipeline.glob("controlnet*")) if re.fullmatch(r"controlnet(_\d+)?", path.name))
    nets = [read_net(text) for text in asked or map(str, own)]
    kinds = [net.kind for net in nets]
    twice = {kind for kind in kinds if kinds.count(kind) > 1}
    if twice:
        raise ExportError(f"Expected ControlNets of different kinds, got {', '.join(sorted(twice))} twice. Name them: --controlnet KIND=FOLDER.")
    return tuple(nets)


def read_net(text: str) -> ControlNetFolder:
    found = re.fullmatch(r"([a-z0-9-]+)=(.+)", text)
    path = Path(found[2] if found else text)
    config = path / "config.json"
    if not config.is_file():
        raise ExportError(f"Expected {path} to be the folder of a ControlNet, with a config.json, but it has none.")
    if found:
        return ControlNetFolder(found[1], path)
    try:
        source = str(json.loads(config.read_text()).get("_name_or_path", ""))
    except (ValueError, AttributeError) as cause:
        raise ExportError(f"Expected {config} to be a JSON object, but: {cause}.") from cause
    for name in (path.name, source):
        kind = next((kind for word, kind in KINDS.items() if word in name.lower()), None)
        if kind is not None:
            return ControlNetFolder(kind, path)
    raise ExportError(f"Expected the name of {path} to say what its pictures show. Name it: --controlnet KIND={path}, as in depth={path}.")
