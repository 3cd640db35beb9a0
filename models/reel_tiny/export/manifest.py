"""Completes a bundle: scheduler, model_index.json and the manifest reelspace.json with the sha256 of every file.

    python -m reel_tiny.export.manifest --data DATA --out reel-tiny
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from ..denoiser.planner import PICTURE
from ..integers import WHOLE_NUMBERS
from ..world.things import ASSETS
from ..weights import load_vae
from ..world.captions import plain_motions, plain_styles
from ..world.render import render
from ..world.sampling import sample_spec
from ..world.scenes import SCENE_NAMES
from ..world.styles import STYLE_NAMES
from ..world.things import THING_NAMES

SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "shift": 3.0,
    "use_dynamic_shifting": False,
}
MODEL_INDEX = {
    "_class_name": "ReelTinyPipeline",
    "_diffusers_version": "0.40.0",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["reelspace", "TextEncoder"],
    "tokenizer": ["transformers", "BertTokenizerFast"],
    "transformer": ["reelspace", "Denoiser"],
    "vae_decoder": ["reelspace", "CausalVaeDecoder"],
    "vae_encoder": ["reelspace", "CausalVaeEncoder"],
}
DEFAULTS = {
    "width": 128,
    "height": 128,
    "numFrames": 25,
    "frameRate": 12,
    "steps": 8,
    "guidanceScale": 1,
    "sourceGuidanceScale": 1,
    "negativePrompt": "",
    "strength": 1,
}
NOT_LISTED = {"reelspace.json", "vae_state.json"}


def noise_levels() -> list[float]:
    """Those of the default steps, and 0 after the last one."""
    steps, shift = DEFAULTS["steps"], SCHEDULER["shift"]
    even = (1 - step / steps for step in range(steps + 1))
    return [shift * level / (1 + (shift - 1) * level) for level in even]


def preview_map(bundle: Path, assets: str, clips: int = 24) -> dict[str, list]:
    """The linear map from latents to the mean colour of each block, in [-1, 1], by least squares over rendered clips."""
    vae, rng = load_vae(bundle), np.random.default_rng(3)
    rows, colours = [], []
    for _ in range(clips):
        clip = torch.from_numpy(render(sample_spec(rng, styled=0.5), assets)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        with torch.no_grad():
            latents = vae.encode(clip)[0]
        # Later latent frames code four frames each.
        blocks = clip[0, :, 1:].unflatten(1, (-1, 4)).unflatten(3, (-1, 8)).unflatten(5, (-1, 8)).mean((2, 4, 6))
        rows.append(latents[:, 1:].flatten(1).T.numpy())
        colours.append(blocks.flatten(1).T.numpy())
    known = np.concatenate(rows)
    solution = np.linalg.lstsq(np.concatenate([known, np.ones((len(known), 1))], 1), np.concatenate(colours), rcond=None)[0]
    rounded = np.round(solution, 5).tolist()
    return {"weights": rounded[:-1], "bias": rounded[-1]}


def describe(file: Path, root: Path) -> dict[str, object]:
    content = file.read_bytes()
    return {"path": file.relative_to(root).as_posix(), "sizeBytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def describe_graph(bundle: Path, folder: str) -> dict[str, str]:
    whole = {"onCpu": f"{folder}/{WHOLE_NUMBERS}"} if (bundle / folder / WHOLE_NUMBERS).exists() else {}
    return {"path": f"{folder}/model.onnx", **whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    options = parser.parse_args()
    out: Path = options.out
    torch.set_num_threads(1)
    (out / "scheduler").mkdir(exist_ok=True)
    (out / "scheduler/scheduler_config.json").write_text(json.dumps(SCHEDULER, indent=2) + "\n")
    (out / "model_index.json").write_text(json.dumps(MODEL_INDEX, indent=2) + "\n")
    states = json.loads((out / "vae_state.json").read_text())
    used = [file for folder in ("scheduler", "text_encoder", "tokenizer", "transformer", "vae_decoder", "vae_encoder") for file in (out / folder).rglob("*")]
    files = sorted(file for file in (*used, out / "model_index.json") if file.is_file() and file.name not in NOT_LISTED)
    manifest = {
        "formatVersion": 1,
        "name": "reel-tiny",
        "summary": f"{len(THING_NAMES)} named things on {len(SCENE_NAMES) - 1} scenes in {len(STYLE_NAMES) - 1} styles, moving; restyles real clips.",
        "license": "MIT",
        "source": "models/reel_tiny, trained from scratch; data and licences in MODEL_CARD.md",
        "tasks": ["text", "first-frame", "last-frame", "inpaint", "restyle", "reference"],
        "vocabulary": {
            "things": THING_NAMES,
            "scenes": [name for name in SCENE_NAMES if name != "plain"],
            "motions": list(plain_motions().values()),
            "styles": list(plain_styles().values()),
        },
        "latent": {
            "channels": 16,
            "temporalCompression": 4,
            "spatialCompression": 8,
            "sizeMultiple": 8,
            "rgb": preview_map(out, str(options.data / ASSETS)),
        },
        "defaults": DEFAULTS,
        "window": {"latentFrames": 7, "overlap": 3},
        "graphs": {
            "textEncoder": {"path": "text_encoder/model.onnx", "maxTokens": 32, "padding": "max"},
            "denoiser": {
                **describe_graph(out, "transformer"),
                "inputs": ["prompt_embeds", "condition_latents", "condition_mask", "reference"],
                "conditionMask": ["keep", "follow"],
                "referenceSide": PICTURE,
            },
            **{f"vae{half.title()}": describe_graph(out, f"vae_{half}") | {"states": states[half]} for half in ("encoder", "decoder")},
        },
        "files": [describe(file, out) for file in files],
    }
    (out / "reelspace.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
