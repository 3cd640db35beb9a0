"""Which diffusers and transformers a pipeline is exported with."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

from packaging.version import InvalidVersion, Version

from .errors import ExportError
from .pipeline_folder import PipelineFolder

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def check_installed() -> None:
    """Raises ExportError when a library is older than the one that the exporter is made for."""
    for library in ("diffusers", "transformers"):
        wanted = re.search(rf"^{library}==(\S+)$", REQUIREMENTS.read_text(), re.MULTILINE)[1]
        installed = version(library)
        if Version(installed) < Version(wanted):
            raise ExportError(f"Expected {library} {wanted} or newer, got {installed}. Run: python -m pip install -r {REQUIREMENTS}")


def check_saved(folder: PipelineFolder) -> None:
    """Raises ExportError when the pipeline is of a newer diffusers than the one that is installed, which may know parts of it not at all."""
    saved = str(folder.index.get("_diffusers_version"))
    installed = version("diffusers")
    try:
        is_newer = Version(saved) > Version(installed)
    except InvalidVersion:
        # Nothing is said.
        return
    if is_newer:
        raise ExportError(
            f"Expected a pipeline of diffusers {installed}, which is installed, or older, got one of {saved} in {folder.path}. "
            "Run: python -m pip install -U diffusers"
        )
