"""Writes the token ids of ten prompts, for other tokenizer libraries to be held against.

    python -m reel_tiny.text.golden reel-tiny/tokenizer/tokenizer.json reel_tiny/text/golden-ids.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer

PROMPTS = (
    "a chicken on a beach",
    "A Pencil Sketch of a fox spinning in the snow!",
    "a rocket flying",
    "",
    "a watercolour painting",
    "an elephant riding a bicycle in Zürich",
    "chiken on teh beech",
    "a cake, 8-bit   pixel-art",
    "ghost\trising in space — at night",
    "a cute little friendly beautiful dinosaur jumping up and down in front of the setting sun in the evening near a cactus among the planets",
)


def main(tokenizer_path: str, out: str) -> None:
    tokenizer = Tokenizer.from_file(tokenizer_path)
    rows = [{"prompt": prompt, "ids": tokenizer.encode(prompt).ids} for prompt in PROMPTS]
    Path(out).write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
