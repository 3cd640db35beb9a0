"""Writes test/goldens/hub-cache.json: what huggingface_hub leaves in its cache after a download from the tests' own hub.

Run from the repository root, after `npm run build`: python models/goldens/make_hub_cache.py.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

# Folders of a repository that are its layout; others (trees) are that client's own notes.
LAYOUT = ("blobs", "refs", "snapshots")


def listing(repository: Path) -> dict[str, str | int]:
    """Path -> where a link leads, what a ref says, or the bytes of a blob."""
    found: dict[str, str | int] = {}
    for place in sorted(repository.rglob("*")):
        path = place.relative_to(repository)
        if path.parts[0] not in LAYOUT or (place.is_dir() and not place.is_symlink()):
            continue
        if place.is_symlink():
            found[path.as_posix()] = f"-> {os.readlink(place)}"
        else:
            found[path.as_posix()] = place.read_text() if path.parts[0] == "refs" else place.stat().st_size
    return found


def main() -> None:
    server = subprocess.Popen(["node", "dist/test/hub/serve.js"], stdout=subprocess.PIPE, text=True)
    try:
        endpoint = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as cache:
            os.environ.update(HF_ENDPOINT=endpoint, HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1")
            from huggingface_hub import __version__, snapshot_download

            manifest = json.loads(Path(snapshot_download("org/name", cache_dir=cache, allow_patterns="reelspace.json"), "reelspace.json").read_text())
            wanted = ["reelspace.json", *(file["path"] for file in manifest["files"])]
            snapshot_download("org/name", cache_dir=cache, allow_patterns=wanted)
            found = listing(Path(cache) / "models--org--name")
    finally:
        server.kill()
    golden = {"client": f"huggingface_hub {__version__}", "cache": found}
    Path("test/goldens/hub-cache.json").write_text(json.dumps(golden, indent=2) + "\n")


if __name__ == "__main__":
    main()
