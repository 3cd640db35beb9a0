"""The tests' folder of bundles: each graph is kept there once, as shared/<SHA-256>.onnx.gz, since families have parts in common."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

FIXTURES = Path(__file__).parents[3] / "test" / "fixtures" / "families"
SHARED = FIXTURES / "shared"


def share_graphs() -> None:
    """Takes the graphs out of the bundles, and away those that no bundle lists any more."""
    SHARED.mkdir(exist_ok=True)
    listed = set()
    for bundle, path, place in graphs():
        listed.add(place)
        # As they were kept before.
        plain = place.with_suffix("")
        for graph in (bundle / path, plain):
            if graph.exists():
                place.write_bytes(gzip.compress(graph.read_bytes(), mtime=0))
                graph.unlink()
        if (bundle / path).parent.is_dir() and not any((bundle / path).parent.iterdir()):
            (bundle / path).parent.rmdir()
    for place in SHARED.iterdir():
        if place not in listed:
            place.unlink()


def copy_whole(folder: Path) -> None:
    """Copies the tests' folder with the graphs back in their bundles."""
    shutil.copytree(FIXTURES, folder, ignore=shutil.ignore_patterns("shared"), dirs_exist_ok=True)
    for bundle, path, place in graphs():
        whole = folder / bundle.name / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(gzip.decompress(place.read_bytes()))


def graphs() -> list[tuple[Path, str, Path]]:
    """Each graph's bundle, its path in there, and its place among the shared."""
    return [
        (manifest.parent, file["path"], SHARED / f"{file['sha256']}.onnx.gz")
        for manifest in sorted(FIXTURES.glob("*/reelspace.json"))
        for file in json.loads(manifest.read_text())["files"]
        if file["path"].endswith(".onnx")
    ]
