"""The page that says of a bundle what it is, where it comes from, and how near it is to PyTorch."""

from __future__ import annotations

import json
from typing import Any

from .graph import Difference


def model_card(manifest: dict[str, Any], held: dict[str, tuple[str, Difference]]) -> str:
    """Markdown with the front matter that hubs read. `held` has for each graph's path what its matrices are stored as, and its
    largest difference from PyTorch in float32."""
    rows = [
        f"| `{path}` | {dtype} | {difference.absolute:.1e} | {difference.largest_value:.2g} |" for path, (dtype, difference) in held.items()
    ]
    return "\n".join([
        "---", f"license: {json.dumps(manifest['license'])}", "tags: [onnx, reelspace]", "---", "",
        f"# {manifest['name']}", "",
        manifest["summary"], "",
        f"- Source: {manifest['source']}",
        f"- Licence of the weights: {manifest['license']}",
        f"- Made for: {', '.join(manifest['tasks'])}", "",
        "Run it with `reelspace generate \"...\" --model FOLDER`; `reelspace.json` says everything else about it.", "",
        "Each graph ran in onnxruntime on the CPU and in PyTorch in float32, at several sizes:", "",
        "| graph | matrices stored as | largest difference | largest value there |",
        "|---|---|---|---|",
        *rows, "",
    ])  # fmt: skip
