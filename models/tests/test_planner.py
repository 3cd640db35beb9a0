"""What words settle: the thing, its course, and the draft that is laid from both. python -m pytest tests/test_planner.py"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from tokenizers import Tokenizer

from reel_tiny.denoiser.planner import FINENESS, MOMENTS, PICTURE, THINGS, WHOLE, Planner, course_poses, draft, load_pictures, moments_of
from reel_tiny.text.train import load_bundled_encoder
from reel_tiny.weights import load_denoiser
from reel_tiny.world.captions import plain_caption
from reel_tiny.world.motions import MOTION_NAMES
from reel_tiny.world.render import FRAMES, Spec, layout, render
from reel_tiny.world.things import THING_NAMES, THINGS as ALL_THINGS, sprite

torch.set_num_threads(1)
BUNDLE = Path(__file__).parents[1] / "reel-tiny"


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Stands in for the emoji: a lopsided shape, so that turned and mirrored ones differ."""
    folder = tmp_path_factory.mktemp("assets")
    for index, thing in enumerate(ALL_THINGS):
        image = Image.new("RGBA", (96, 96), (0, 0, 0, 0))
        ImageDraw.Draw(image).polygon([(8, 8), (88, 30), (60, 88), (20, 70)], fill=(255, index % 256, index // 256, 255))
        image.save(folder / f"{thing.code_point}.webp", lossless=True)
    sprite.cache_clear()
    yield str(folder)
    sprite.cache_clear()


@pytest.mark.parametrize("motion", MOTION_NAMES)
def test_a_draft_lies_where_the_renderer_puts_the_thing(assets: str, motion: str) -> None:
    spec = Spec("fox", "plain", motion, "none", 5)
    poses = torch.from_numpy(course_poses(layout(spec)[1]))[None]
    picture = load_pictures(assets)[1 + THING_NAMES.index("fox")].view(1, 4, PICTURE, PICTURE) / WHOLE
    laid = F.pixel_shuffle(draft(picture, poses, 16, 16).view(7 * MOMENTS, -1, 16, 16), FINENESS)[:, 3]
    with_thing, without = render(spec, assets), render(Spec(None, "plain", "still", "none", 5), assets)
    covered = (np.abs(with_thing.astype(int) - without).sum(3) > 60).reshape(FRAMES, 64, 2, 64, 2).mean((2, 4))
    for latent_frame in range(7):
        for moment, time in enumerate(moments_of(latent_frame)):
            shown, drawn = covered[round(time * (FRAMES - 1))] > 0.5, laid[latent_frame * MOMENTS + moment].numpy() > 0.5
            assert (shown & drawn).sum() > 0.9 * (shown | drawn).sum() > 0


def test_drafts_of_other_shapes_keep_the_proportions() -> None:
    picture, poses = torch.ones(1, 4, PICTURE, PICTURE), torch.tensor([0.5, 0.5, 0.5, 1.0, 0.0]).expand(1, 1, MOMENTS, 5)
    laid = F.pixel_shuffle(draft(picture, poses, 8, 16).view(MOMENTS, -1, 8, 16), FINENESS)[0, 3] > 0.5
    rows, columns = laid.any(1).nonzero().flatten(), laid.any(0).nonzero().flatten()
    assert (rows[0], rows[-1]) == (8, 23) and (columns[0], columns[-1]) == (24, 39)


def test_no_thing_is_no_draft() -> None:
    planner = Planner(8)
    with torch.no_grad():
        planner.thing.bias[0] = 100
        planner.pictures[1:] = WHOLE
    assert planner.picture(torch.randn(2, 8)).abs().max() == 0


def test_a_reference_takes_the_place_of_a_picture_where_it_shows_something() -> None:
    planner, summary = Planner(8, 2), torch.zeros(3, 8)
    with torch.no_grad():
        planner.pictures.fill_(WHOLE)
    reference = torch.zeros(3, 4, PICTURE, PICTURE)
    reference[1, :, 5:9] = 0.25
    reference[2, :3] = 0.5
    seen = planner.picture(summary, reference)
    assert torch.equal(seen[1], reference[1])
    assert all(torch.equal(seen[row], planner.picture(summary)[row]) for row in (0, 2))


def test_the_picture_is_that_of_the_likeliest_thing_and_of_no_other() -> None:
    planner = Planner(2, 3)
    with torch.no_grad():
        planner.thing.bias.zero_()
        planner.thing.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        planner.pictures[1], planner.pictures[2] = 10, WHOLE
    seen = planner.picture(torch.tensor([[0.6, 0.5], [0.5, 0.6], [-1.0, -1.0]]))
    torch.testing.assert_close(seen[:, 0, 0, 0], torch.tensor([10 / WHOLE, 1.0, 0.0]))


def test_the_bundle_knows_each_thing_and_its_course() -> None:
    tokenizer, encoder = Tokenizer.from_file(str(BUNDLE / "tokenizer/tokenizer.json")), load_bundled_encoder(BUNDLE)
    planner = load_denoiser(BUNDLE).planner
    specs = [Spec(thing, "beach", MOTION_NAMES[index % len(MOTION_NAMES)], "none", index) for index, thing in enumerate(THING_NAMES)]
    encoded = tokenizer.encode_batch([plain_caption(spec) for spec in specs])
    with torch.no_grad():
        summary = encoder(torch.tensor([e.ids for e in encoded]), torch.tensor([e.attention_mask for e in encoded]))[:, 0]
        named = planner.thing(summary).argmax(1).tolist()
        found = planner.poses(summary, torch.arange(7).float().expand(len(specs), -1))
    assert named == list(range(1, THINGS))
    courses = torch.from_numpy(np.stack([course_poses(layout(spec)[1]) for spec in specs]))
    # What is left is what seeds settle.
    assert (found - courses)[..., :2].abs().mean() < 0.03 and (found - courses).square().mean().sqrt() < 0.06
