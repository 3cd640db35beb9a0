"""Pipelines on a hub of models, fetched into huggingface_hub's cache: settings, tokenizers and safetensors, and no file that could run.

HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME and HF_TOKEN mean what they mean to huggingface_hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from .errors import ExportError

INDEX, CARD = "model_index.json", "README.md"
# What is fetched of a component's folder.
ENDINGS = ("json", "txt", "model", "safetensors")
# The same weights in fewer bits, or before they were averaged, beside those that are loaded.
VARIANTS = ("*.fp16*", "*.bf16*", "*.non_ema*")


@dataclass(frozen=True)
class Repository:
    # org/name
    name: str
    # A branch, a tag or a commit.
    revision: str


def repository_of(text: str) -> Repository | None:
    """The repository that `org/name` or `org/name@revision` names, or None where the text is no such name."""
    part = r"\w[\w.-]{0,95}"
    found = re.fullmatch(rf"({part}/{part})(?:@(\w[\w./-]{{0,127}}))?", text)
    return Repository(found[1], found[2] or "main") if found else None


def fetch_pipeline(repository: Repository, check: Callable[[Path], object]) -> Path:
    """The folder of a pipeline, whose last part is the commit. `check` is given it when nothing but the index is there, and may raise.
    Raises ExportError."""
    folder = fetch(repository, [INDEX])
    if not (folder / INDEX).is_file():
        raise ExportError(f"Expected {repository.name} to be a pipeline of diffusers, with a {INDEX}, but it has none.")
    check(folder)
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    components = [name for name, entry in index.items() if isinstance(entry, list) and entry and entry[0] is not None]
    return fetch(repository, [INDEX, CARD, *(f"{component}/*.{ending}" for component in components for ending in ENDINGS)])


def fetch(repository: Repository, patterns: list[str]) -> Path:
    name, revision = repository.name, repository.revision
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns, ignore_patterns=list(VARIANTS)))
    except RepositoryNotFoundError as cause:
        raise ExportError(
            f"Expected {name} to be a folder, or a model on {constants.ENDPOINT} that may be read. Check the name; for a private or gated "
            "model log in with `hf auth login`, and accept its terms there."
        ) from cause
    except RevisionNotFoundError as cause:
        raise ExportError(f"Expected {name} to have the branch, tag or commit {revision!r}. Leave out @{revision} for its main one.") from cause
    except LocalEntryNotFoundError as cause:
        raise ExportError(
            f"Expected {name} to be on this machine, as {constants.ENDPOINT} is not to be reached. Go online, or give a folder."
        ) from cause
    # What its HTTP client raises is no part of huggingface_hub's interface.
    except Exception as cause:
        raise ExportError(f"Expected {name} to be fetched from {constants.ENDPOINT}, but: {str(cause).splitlines()[0]}. Try again.") from cause
