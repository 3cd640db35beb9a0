"""The small world and its words. Run from models/: python -m pytest tests/test_world.py"""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from reel_tiny.text.encoder import TextEncoder
from reel_tiny.text.tokenizer import extend_tokenizer
from reel_tiny.text.train import start_from
from reel_tiny.text.typos import misspell
from reel_tiny.world.captions import caption, plain_caption
from reel_tiny.world.motions import MOTIONS
from reel_tiny.world.render import Spec, extent, render
from reel_tiny.world.sampling import (
    ALWAYS_TRAINED,
    ALWAYS_TRAINED_THINGS,
    is_held_out,
    is_held_out_move,
    is_held_out_pair,
    sample_spec,
    training_specs,
    training_styles,
)
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


def test_pixel_art_is_of_blocks_that_stand_out_and_keeps_hues() -> None:
    step = np.full((128, 128, 3), 100, np.uint8)
    step[:, 64:] = 150
    made = STYLES["pixel"](step)
    assert (made == made[::4, ::4].repeat(4, 0).repeat(4, 1)).all() and (made == made[..., :1]).all()
    assert (made[:, :32] == 100).all() and (made[:, 96:] == 150).all() and made[0, 60, 0] < 90 and made[0, 64, 0] > 160
    teal = STYLES["pixel"](np.full((16, 16, 3), (0, 120, 120), np.uint8))
    assert (teal == (0, 120, 120)).all()


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


def test_words_name_one_thing() -> None:
    words = [word for thing in THINGS for word in thing.words]
    assert len(set(words)) == len(words)
    assert len({thing.code_point for thing in THINGS}) == len(THINGS) >= 120


def test_what_walks_without_a_direction_goes_left() -> None:
    rng = np.random.default_rng(0)
    said = {motion: [caption(Spec("fox", "beach", motion, "none", 0), rng) for _ in range(300)] for motion in ("left", "right")}
    assert any("left" not in words for words in said["left"])
    assert all("right" in words for words in said["right"])


def test_plain_captions_are_plain() -> None:
    assert plain_caption(Spec("fox", "plain", "still", "none", 0)) == "a fox"
    assert plain_caption(Spec("unicorn", "snow", "left", "pencil", 0)) == "a pencil sketch of a unicorn moving left in the snow"
    assert plain_caption(Spec("grapes", "rain", "up", "none", 0)) == "some grapes rising in the rain"
    assert plain_caption(Spec(None, "forest", "still", "none", 0)) == "a forest"


def test_held_out_combinations_are_never_drawn_for_training() -> None:
    rng = np.random.default_rng(0)
    specs = training_specs(2000, rng)
    styled = [replace(spec, style=style) for spec, style in zip(specs, training_styles(specs), strict=True)]
    assert not any(is_held_out(spec) for spec in (*specs, *styled, *(sample_spec(rng) for _ in range(2000))))
    pairs = {(thing, scene) for thing in THING_NAMES for scene in SCENE_NAMES if is_held_out_pair(thing, scene)}
    assert len(THING_NAMES) <= len(pairs) <= 2 * len(THING_NAMES)
    assert not ALWAYS_TRAINED & pairs
    assert not any(is_held_out_move(thing, motion, "none") for thing in ALWAYS_TRAINED_THINGS for motion in MOTIONS)
    moves = [(t, m, s) for t in THING_NAMES for m in MOTIONS for s in STYLES if is_held_out_move(t, m, s)]
    assert 0.05 < len(moves) / (len(THING_NAMES) * len(MOTIONS) * len(STYLES)) < 0.15


def test_training_sees_things_scenes_motions_and_styles_evenly() -> None:
    specs = training_specs(4000, np.random.default_rng(0))
    things = Counter(spec.thing for spec in specs if spec.thing is not None)
    assert max(things.values()) - min(things.values()) <= 1
    scenes = Counter(spec.scene for spec in specs)
    assert scenes["plain"] == max(scenes.values())
    assert min(scenes.values()) > 0.8 * sorted(scenes.values())[-2]
    motions = Counter(spec.motion for spec in specs)
    assert min(motions.values()) > 0.8 * sorted(motions.values())[-2]
    styles = Counter(training_styles(specs))
    assert set(styles) == set(STYLES) - {"none"}
    assert min(styles.values()) > 0.85 * max(styles.values())


def test_extending_a_tokenizer_keeps_its_ids(tokenizer: Tokenizer) -> None:
    longer = extend_tokenizer(tokenizer, ["a zyzzyva on a beach"])
    assert longer.get_vocab_size() == tokenizer.get_vocab_size() + 1
    assert longer.encode("a fox on a beach").ids == tokenizer.encode("a fox on a beach").ids
    assert longer.encode("zyzzyva").ids[1] == tokenizer.get_vocab_size()


def test_an_encoder_starts_as_the_older_one_was() -> None:
    older, newer = TextEncoder(50, layers=2).eval(), TextEncoder(60, layers=3).eval()
    own = newer.tokens.weight[50:].clone()
    start_from(newer, older)
    ids, mask = torch.arange(10)[None], torch.ones(1, 10, dtype=torch.int64)
    assert torch.equal(newer(ids, mask), older(ids, mask))
    assert torch.equal(newer.tokens.weight[50:], own)


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
