"""Exports a pipeline folder of diffusers as a bundle.

    python -m export --pipeline FOLDER --out BUNDLE
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from .bundle import BundleWriter, add_shared_files, license_of
from .errors import ExportError
from .families import EXPORTERS
from .pipeline_folder import read_pipeline_folder


def export_pipeline(pipeline: Path, out: Path, license: str | None = None, source: str | None = None) -> None:
    """Writes the bundle `out`, whole or not at all. Raises ExportError."""
    if out.exists():
        raise ExportError(f"Expected {out} not to exist. Move it away, or choose another name.")
    name = out.name.lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,63}", name):
        raise ExportError(f"Expected the name of the bundle to be letters, digits, dots and dashes, got {out.name!r}.")
    folder = read_pipeline_folder(pipeline)
    export = EXPORTERS.get(folder.class_name)
    if export is None:
        known = ", ".join(sorted(EXPORTERS))
        raise ExportError(f"Expected a pipeline of one of the classes {known}, got {folder.class_name} in {pipeline}.")
    license = license or license_of(folder)
    if license is None:
        raise ExportError(f"Expected the model card of {pipeline} to name a licence. Name it with --license.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        bundle = BundleWriter(Path(scratch) / "bundle")
        add_shared_files(bundle, folder)
        described = export(folder, bundle)
        bundle.finish({
            "name": name,
            "summary": described.pop("summary"),
            "license": license,
            "source": source or str(folder.index.get("_name_or_path") or pipeline.name),
            **described,
        })  # fmt: skip
        bundle.folder.rename(out)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", type=Path, required=True, help="folder with a model_index.json")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; its last part names the model")
    parser.add_argument("--license", help="licence of the weights (default: the one that the model card names)")
    parser.add_argument("--source", help="where the weights come from (default: what model_index.json says)")
    options = parser.parse_args(arguments)
    try:
        export_pipeline(options.pipeline, options.out, options.license, options.source)
    except ExportError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.out}: done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
