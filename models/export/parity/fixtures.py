"""The tests' folder of bundles: each graph is kept there once, as shared/<SHA-256>.onnx, since families have parts in common."""

from __future__ import annotations

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
        if (bundle / path).exists():
            (bundle / path).replace(place)
            if not any((bundle / path).parent.iterdir()):
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
        shutil.copyfile(place, whole)


def graphs() -> list[tuple[Path, str, Path]]:
    """Each graph's bundle, its path in there, and its place among the shared."""
    return [
        (manifest.parent, file["path"], SHARED / f"{file['sha256']}.onnx")
        for manifest in sorted(FIXTURES.glob("*/reelspace.json"))
        for file in json.loads(manifest.read_text())["files"]
        if file["path"].endswith(".onnx")
    ]
