"""The small world and its words. Run from models/: python -m pytest tests/test_world.py"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from reel_tiny.text.encoder import TextEncoder
from reel_tiny.text.train import misspell
from reel_tiny.world.captions import caption
from reel_tiny.world.motions import MOTIONS
from reel_tiny.world.render import Spec, extent, render
from reel_tiny.world.sampling import ALWAYS_TRAINED, is_held_out, sample_spec
from reel_tiny.world.scenes import SCENE_NAMES
from reel_tiny.world.styles import STYLES
from reel_tiny.world.things import THING_NAMES, THINGS

HERE = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(HERE / "reel-tiny/tokenizer/tokenizer.json"))


@pytest.mark.parametrize("scene", SCENE_NAMES)
def test_scenes_are_settled_by_their_seed(scene: str) -> None:
    spec = Spec(None, scene, "still", "none", 5)
    clip = render(spec, "", frames=3)
    assert clip.shape == (3, 128, 128, 3)
    assert np.array_equal(clip, render(spec, "", frames=3))
    assert not np.array_equal(clip, render(Spec(None, scene, "still", "none", 6), "", frames=3))


@pytest.mark.parametrize("style", [name for name in STYLES if name != "none"])
def test_styles_change_pictures_and_keep_their_size(style: str) -> None:
    picture = render(Spec(None, "meadow", "still", "none", 1), "", frames=1)[0]
    for size in (picture, picture[:90, :123]):
        made = STYLES[style](np.ascontiguousarray(size))
        assert made.shape == size.shape and made.dtype == np.uint8
        assert np.abs(made.astype(int) - size).mean() > 8


def test_things_move_as_their_motion_says() -> None:
    def ends(motion: str) -> tuple[np.ndarray, np.ndarray]:
        path = MOTIONS[motion](np.random.default_rng(0))
        return np.array(path(0.0)), np.array(path(1.0))

    for motion, axis, sign in (("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1), ("growing", 2, 1), ("shrinking", 2, -1), ("spinning", 3, 1)):
        start, end = ends(motion)
        assert (end - start)[axis] * sign > 0.3
    left, top, right, bottom = extent(MOTIONS["right"](np.random.default_rng(0)))
    assert right - left > bottom - top


def test_captions_name_what_they_mean() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        spec = sample_spec(rng)
        words = caption(spec, rng)
        if spec.thing is not None:
            assert any(word in words for word in next(thing for thing in THINGS if thing.name == spec.thing).words)


def test_held_out_pairs_are_never_drawn_for_training() -> None:
    rng = np.random.default_rng(0)
    assert not any(is_held_out(spec.thing, spec.scene) for spec in (sample_spec(rng) for _ in range(2000)))
    pairs = [(thing, scene) for thing in THING_NAMES for scene in SCENE_NAMES if is_held_out(thing, scene)]
    assert 12 <= len(pairs) <= 30
    assert not ALWAYS_TRAINED & set(pairs)


def test_tokens_equal_the_golden_ids(tokenizer: Tokenizer) -> None:
    for row in json.loads((HERE / "reel_tiny/text/golden-ids.json").read_text()):
        assert tokenizer.encode(row["prompt"]).ids == row["ids"]


def test_misspelt_words_are_not_lost(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    unknown = tokenizer.token_to_id("[UNK]")
    for _ in range(200):
        assert unknown not in tokenizer.encode(misspell(caption(sample_spec(rng), rng), rng)).ids


def test_padding_changes_no_embedding() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(50).eval()
    ids = torch.randint(4, 50, (2, 6))
    mask = torch.ones(2, 6, dtype=torch.int64)
    with torch.no_grad():
        alone = encoder(ids, mask)
        padded = encoder(torch.cat([ids, torch.zeros(2, 3, dtype=torch.int64)], 1), torch.cat([mask, torch.zeros(2, 3, dtype=torch.int64)], 1))
    assert (padded[:, :6] - alone).abs().max() < 1e-5
    assert padded[:, 6:].abs().max() == 0
