"""Exports a pipeline of diffusers, a folder or one on a hub of models, as a bundle.

    python -m export --pipeline FOLDER --out BUNDLE
    python -m export --pipeline ORG/NAME[@REVISION] --out BUNDLE
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bundle import DEVICES, BundleWriter, add_shared_files, license_of
from .errors import ExportError
from .hub import fetch_pipeline, repository_of
from .pipeline_folder import PipelineFolder, read_pipeline_folder
from .precision import DTYPES
from .versions import check_installed, check_saved

if TYPE_CHECKING:
    from .families import Exporter


@dataclass(frozen=True)
class Choices:
    """What a bundle is made with beyond its pipeline; None leaves it to the pipeline."""

    license: str | None = None
    source: str | None = None
    # One of precision.DTYPES.
    dtype: str = "fp32"
    # Width and height, and number of frames, of a run that says nothing else.
    size: tuple[int, int] | None = None
    frames: int | None = None
    # One of bundle.DEVICES.
    device: str = "any"
    # ControlNets, as FOLDER or KIND=FOLDER.
    control_nets: tuple[str, ...] = ()


def export_pipeline(pipeline: Path, out: Path, choices: Choices) -> None:
    """Writes the bundle `out`, whole or not at all. Raises ExportError."""
    if out.exists():
        raise ExportError(f"Expected {out} not to exist. Move it away, or choose another name.")
    name = out.name.lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,63}", name):
        raise ExportError(f"Expected the name of the bundle to be letters, digits, dots and dashes, got {out.name!r}.")
    folder = read_pipeline_folder(pipeline, choices.control_nets)
    export = exporter_of(folder)
    license = choices.license or license_of(folder)
    if license is None:
        raise ExportError(f"Expected the model card of {pipeline} to name a licence. Name it with --license.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        bundle = BundleWriter(Path(scratch) / "bundle", choices.dtype, choices.device)
        add_shared_files(bundle, folder)
        described = export(folder, bundle)
        choose_defaults(described, choices)
        bundle.finish({
            "name": name,
            "summary": described.pop("summary"),
            "license": license,
            "source": choices.source or str(folder.index.get("_name_or_path") or pipeline.name),
            **described,
        })  # fmt: skip
        bundle.folder.rename(out)


def exporter_of(folder: PipelineFolder) -> Exporter:
    """What exports a pipeline of that class. Raises ExportError, which lists the known ones and names the nearest."""
    check_installed()
    # Not before: an older diffusers lacks classes that families are made of.
    from .families import EXPORTERS, WITH_CONTROL_NETS

    export = EXPORTERS.get(folder.class_name)
    if export is None:
        nearest = difflib.get_close_matches(folder.class_name, EXPORTERS, n=1)
        raise ExportError(
            f"Expected a pipeline of one of the classes {', '.join(sorted(EXPORTERS))}, got {folder.class_name} in {folder.path}."
            + "".join(f" The nearest is {one}." for one in nearest)
        )
    check_saved(folder)
    if folder.control_nets and folder.class_name not in WITH_CONTROL_NETS:
        raise ExportError(f"Expected no --controlnet for a {folder.class_name}, which goes by none, got {folder.control_nets[0].path}.")
    return export


def choose_defaults(described: dict[str, Any], choices: Choices) -> None:
    """Puts the chosen size and length into what the manifest says. Raises ExportError for what the model can't make."""
    latent, defaults = described["latent"], described["defaults"]
    multiple, stride = latent["sizeMultiple"], latent.get("frameStep", latent["temporalCompression"])
    if choices.size is not None:
        if any(side < multiple or side % multiple for side in choices.size):
            width, height = (max(1, round(side / multiple)) * multiple for side in choices.size)
            raise ExportError(
                f"Expected --size to be multiples of {multiple}, got {choices.size[0]}x{choices.size[1]}. The nearest is {width}x{height}."
            )
        if latent.get("fixedSize") and choices.size != (defaults["width"], defaults["height"]):
            raise ExportError(f"Expected no --size, as this model makes {defaults['width']}x{defaults['height']} alone.")
        defaults["width"], defaults["height"] = choices.size
    if choices.frames is not None:
        if choices.frames < 1 or (choices.frames - 1) % stride:
            below = max(0, (choices.frames - 1) // stride) * stride + 1
            raise ExportError(
                f"Expected --frames to be 1 more than a multiple of {stride}, got {choices.frames}. The nearest are {below} and {below + stride}."
            )
        defaults["numFrames"] = choices.frames


def size_of(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT, got {text!r}")
    return int(found[1]), int(found[2])


def locate(pipeline: str) -> tuple[Path, str | None]:
    """The folder of a pipeline, and where it is from if that is a hub of models. Raises ExportError."""
    repository = None if Path(pipeline).is_dir() else repository_of(pipeline)
    if repository is None:
        return Path(pipeline), None
    folder = fetch_pipeline(repository, lambda index: exporter_of(read_pipeline_folder(index)))
    return folder, f"{repository.name}@{folder.name}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pipeline", required=True, help="folder with a model_index.json, or a model on the Hugging Face Hub: org/name or org/name@revision"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write; its last part names the model")
    parser.add_argument("--license", help="licence of the weights (default: the one that the model card names)")
    parser.add_argument("--source", help="where the weights come from (default: what model_index.json says)")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32", help="what matrices are stored as (default: fp32)")
    parser.add_argument("--size", type=size_of, metavar="WxH", help="size of a clip where a run names none (default: the family's)")
    parser.add_argument("--frames", type=int, metavar="N", help="length of a clip where a run names none (default: the family's)")
    parser.add_argument(
        "--device", choices=DEVICES, default="any",
        help="cpu: operators that are faster there; cuda: a causal VAE takes a whole clip a call, so that its states stay on the device",
    )
    parser.add_argument(
        "--controlnet", nargs="+", default=(), metavar="[KIND=]FOLDER", help="ControlNets to go with it; KIND, such as depth, says what their pictures show"
    )
    options = parser.parse_args(arguments)
    try:
        pipeline, source = locate(options.pipeline)
        choices = Choices(
            options.license, options.source or source, options.dtype, options.size, options.frames, options.device, tuple(options.controlnet)
        )
        export_pipeline(pipeline, options.out, choices)
    except ExportError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.out}: done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
