"""Fetches what the VAE is trained and judged on, and writes the manifest.

    python -m reel_tiny.data.prepare --data DIR --clips DIR --manifest reel-tiny/DATA.json

Only licences that let the weights be given away: no share-alike, no GPL, no film. `apt-get download` and `npm pack`
verify what they fetch; the manifest records the sha256 of each archive.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import subprocess
import tarfile
from pathlib import Path

PACKAGES = [
    {
        "name": "opencv-doc",
        "from": "debian",
        "version": "4.6.0+dfsg-12",
        "licence": "Apache-2.0 and BSD-3-Clause",
        "use": "photos for training; tree.avi and vtest.avi for judging; Megamind and logos are left out",
    },
    {
        "name": "python3-skimage",
        "from": "debian",
        "version": "0.19.3-8",
        "licence": "CC0-1.0 or public domain (the pictures used, by skimage.data's docstrings)",
        "use": "photos for training",
    },
    {
        "name": "openclipart-png",
        "from": "debian",
        "version": "1:0.18+dfsg-19",
        "licence": "public domain",
        "use": "sprites for training",
    },
    {
        "name": "@lobehub/fluent-emoji-3d",
        "from": "npm",
        "version": "1.1.0",
        "licence": "MIT",
        "use": "sprites for training",
    },
    {
        "name": "@atlaskit/media-test-data",
        "from": "npm",
        "version": "4.0.0",
        "licence": "Apache-2.0",
        "use": "videoFire1080p and videoTeacup720p for judging only",
    },
]

OPENCV_PHOTOS = (
    "fruits baboon blox home squirrel_cls aloeL board starry_night stuff aero1 aero3 orange apple butterfly building "
    "box_in_scene cards chicky_512 smarties graf1 leuvenA ela_original left03 right07 licenseplate_motion sudoku"
).split()
SKIMAGE_PHOTOS = "astronaut brick camera chelsea coffee grass gravel hubble_deep_field ihc moon retina rocket".split()

HELD_OUT_CLIPS = ["sign-bird.mkv", "sign-no.mkv"]
# (file, first training frame, end of training): the rest of these clips is held out.
PARTLY_HELD_OUT = {"bottle-detection.mp4": 0.6, "one-by-one-person-detection.mp4": 0.85}


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def archive_of(package: dict, data: Path) -> Path:
    """The package's archive in `data`, downloaded if it isn't there."""
    name, version = package["name"], package["version"]
    if package["from"] == "debian":
        path = data / f"{name}_{version.replace(':', '%3a')}_all.deb"
        command = ["apt-get", "download", f"{name}={version}"]
    else:
        path = data / f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"
        command = ["npm", "pack", "--silent", f"{name}@{version}"]
    if not path.exists():
        subprocess.run(command, cwd=data, check=True)
    return path


def unpack(package: dict, archive: Path, data: Path) -> Path:
    folder = data / package["name"].split("/")[-1]
    if not folder.exists():
        folder.mkdir()
        if package["from"] == "debian":
            subprocess.run(["dpkg", "-x", archive, folder], check=True)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
    return folder


def unpack_atlaskit_videos(folder: Path, data: Path) -> None:
    """The package keeps its media as base64 in JavaScript modules."""
    for name in ("videoFire1080p", "videoTeacup720p"):
        source = next(folder.glob(f"**/es2019/**/{name}.js")).read_text()
        found = re.search(r"base64,([A-Za-z0-9+/=]+)", source)
        if found is None:
            raise ValueError(f"Expected {name}.js to hold a base64 data URL, got none. Check the package's version.")
        (data / f"{name}.mp4").write_bytes(base64.b64decode(found[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="where archives and unpacked files go")
    parser.add_argument("--clips", type=Path, required=True, help="clips of intel-iot-devkit/sample-videos")
    parser.add_argument("--manifest", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    sources = []
    for package in PACKAGES:
        archive = archive_of(package, arguments.data)
        folder = unpack(package, archive, arguments.data)
        if package["name"].startswith("@atlaskit"):
            unpack_atlaskit_videos(folder, arguments.data)
        sources.append({**package, "sha256": sha256(archive)})
        if package["name"] == "opencv-doc":
            sources[-1]["files"] = OPENCV_PHOTOS
        if package["name"] == "python3-skimage":
            sources[-1]["files"] = SKIMAGE_PHOTOS
    clips = sorted(p for p in arguments.clips.iterdir() if p.suffix in (".mp4", ".mkv"))
    sources.append(
        {
            "name": "intel-iot-devkit/sample-videos",
            "licence": "CC-BY-4.0",
            "credit": 'Intel Corporation, "sample-videos"',
            "use": "clips for training",
            "held_out": HELD_OUT_CLIPS,
            "trained_on_first_part": PARTLY_HELD_OUT,
            "files": {p.name: sha256(p) for p in clips},
        }
    )
    sources.append(
        {
            "name": "drawn by reel_tiny/data/paint.py",
            "licence": "as this repository",
            "use": "scenes, dead-leaves pictures, gradients and text-like areas for training",
        }
    )
    arguments.manifest.parent.mkdir(parents=True, exist_ok=True)
    arguments.manifest.write_text(json.dumps({"sources": sources}, indent=2) + "\n")


if __name__ == "__main__":
    main()
