"""What the denoiser learns from: rendered sets, and samples drawn from them. python -m pytest tests/test_cache.py"""

from argparse import Namespace
from pathlib import Path

import json
import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

from reel_tiny.data.pool import main as pool_main
from reel_tiny.data.render import ClipRenderer
from reel_tiny.denoiser.cache import SETS, Renderer, render_all
from reel_tiny.denoiser.planner import course_poses
from reel_tiny.denoiser.tasks import FAINT, FREE, Tasks
from reel_tiny.denoiser.train import Feeds
from reel_tiny.workers import feed, share_out
from reel_tiny.world.render import Spec, extent, layout
from reel_tiny.world.sampling import is_held_out
from reel_tiny.world.styles import STYLE_NAMES, STYLES
from reel_tiny.world.things import ASSETS, THINGS, sprite

torch.set_num_threads(1)
BUNDLE = Path(__file__).parents[1] / "reel-tiny"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands in for the emoji: squares."""
    folder = tmp_path_factory.mktemp("data")
    (folder / ASSETS).mkdir(parents=True)
    for index, thing in enumerate(THINGS):
        Image.new("RGBA", (32, 32), (255, 2 * index, 0, 255)).save(folder / ASSETS / f"{thing.code_point}.webp", lossless=True)
    sprite.cache_clear()
    yield folder
    sprite.cache_clear()


@pytest.fixture(scope="module")
def pictures(data: Path) -> pytest.MonkeyPatch:
    """Photos and videos of noise."""
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (200, 220, 3), np.uint8) for _ in range(3)]
    videos = [[rng.integers(0, 256, (140, 150, 3), np.uint8) for _ in range(30)] for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        for module in ("reel_tiny.denoiser.cache", "reel_tiny.data.render"):
            patch.setattr(f"{module}.load_photos", lambda data: photos)
            patch.setattr(f"{module}.load_training_clips", lambda data, clips: videos)
        yield patch


def rendered(data: Path, out: Path, workers: int) -> Path:
    render_all(Namespace(data=data, clips=data, out=out, seed=4, workers=workers, world=40, styled=12, real=2, stills=3, pasted=4))
    return out


@pytest.fixture(scope="module")
def made(data: Path, pictures: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rendered(data, tmp_path_factory.mktemp("cache"), 2)


def rows_of(folder: Path) -> list[dict]:
    return json.loads((folder / "rows.json").read_text())


def test_every_row_is_what_it_says(made: Path) -> None:
    for name in SETS:
        rows, pixels = rows_of(made / name), np.load(made / name / "pixels.npy")
        boxes, poses = (np.load(made / name / f"{array}.npy") for array in ("boxes", "poses"))
        assert len(rows) == len(pixels) > 0 and pixels.std((1, 2, 3, 4)).min() > 0
        for row, entry in enumerate(rows):
            if entry["source"] != row:
                style = STYLES[entry["style"]]
                assert np.array_equal(pixels[row], [style(frame) for frame in pixels[entry["source"]]])
            if entry["spec"] is not None:
                spec = Spec(**entry["spec"])
                assert spec.style == entry["style"] and (name == "pasted" or not is_held_out(spec))
                course = layout(spec)[1]
                assert np.allclose(boxes[row], extent(course)) and np.allclose(poses[row], course_poses(course))
    assert [len(rows_of(made / name)) for name in SETS] == [52, 8, 4, 12]


def test_clips_are_the_same_whoever_renders_them(made: Path, data: Path, tmp_path: Path) -> None:
    again = rendered(data, tmp_path, 1)
    for name in SETS:
        assert rows_of(again / name) == rows_of(made / name)
        assert np.array_equal(np.load(again / name / "pixels.npy"), np.load(made / name / "pixels.npy"))


def tasks_of(cache: Path, **options: object) -> Tasks:
    return Tasks(cache, Tokenizer.from_file(str(BUNDLE / "tokenizer/tokenizer.json")), 0, **options)


@pytest.fixture(scope="module")
def tasks(made: Path) -> Tasks:
    """Latents that tell their row: its number everywhere, and the frame's in the second channel."""
    for name in SETS:
        count, frames = np.load(made / name / "pixels.npy", mmap_mode="r").shape[:2]
        latents = np.zeros((count, 16, (frames - 1) // 4 + 1, 16, 16), np.float16)
        latents += np.arange(count).reshape(-1, 1, 1, 1, 1) + 100 * SETS.index(name)
        latents[:, 1] = np.arange(latents.shape[2]).reshape(-1, 1, 1)
        np.save(made / name / "latents.npy", latents)
    return tasks_of(made)


def test_samples_are_what_they_are_to_be_made_from(tasks: Tasks, made: Path) -> None:
    rows = {name: rows_of(made / name) for name in SETS}
    kinds = set()
    for _ in range(300):
        one = tasks.clip()
        keep, follow = one.mask[0].max() > 0, one.mask[1].max() > 0
        number = int(one.target[0, 0, 0, 0])
        name, row = SETS[number // 100], number % 100
        kinds.add((keep, follow, name))
        assert one.target.shape == (16, 7, 16, 16) and not (keep and follow)
        assert one.taught != follow and one.guided == (not follow and one.text != "")
        if keep:
            assert np.array_equal(one.condition, one.target)
        elif follow:
            assert one.text == "" or rows[name][row]["source"] == int(one.condition[0, 0, 0, 0]) % 100 != row
            assert np.array_equal(one.condition[1], one.target[1])
        else:
            # A hole may leave nothing of the picture.
            assert not (one.condition * one.mask.max(0)).any()
        if one.poses is not None:
            assert np.array_equal(one.poses, np.load(made / name / "poses.npy")[row])
            assert rows[name][row]["spec"]["thing"] is not None and one.text != ""
    assert {(True, False, "world"), (True, False, "pasted"), (False, True, "real"), (False, True, "world"), (False, False, "world")} <= kinds


def test_styles_learnt_afresh_are_not_taught(tasks: Tasks, made: Path) -> None:
    rows = {name: rows_of(made / name) for name in SETS}
    known = {rows["world"][row]["style"] for row in range(len(rows["world"]))} - {"none"}
    some = tasks_of(made, afresh=sorted(known)[:2])
    seen = set()
    for _ in range(200):
        one = some.picture()
        number = int(one.target[0, 0, 0, 0])
        style, follow = rows[SETS[number // 100]][number % 100]["style"], one.mask[1].max() > 0
        assert one.taught == (not follow and style not in some.afresh) and one.guided == (not follow and one.text != "")
        seen.add((bool(one.taught), style in some.afresh, bool(follow)))
    assert {(True, False, False), (False, True, False), (False, False, True)} <= seen


@pytest.mark.parametrize(("restyled", "kinds"), [(0.0, {"text", "mask"}), (FREE, {"restyle", "mask"})])
def test_single_frames_are_restyles_as_often_as_asked(tasks: Tasks, made: Path, restyled: float, kinds: set[str]) -> None:
    some = tasks_of(made, restyled=restyled)
    ones = [some.picture() for _ in range(200)]
    found = ["restyle" if one.mask[1].max() > 0 else "mask" if one.condition is one.target else "text" for one in ones]
    assert set(found) == kinds and found.count("mask") < 50


def test_training_draws_as_its_options_say(tasks: Tasks, made: Path) -> None:
    options = Namespace(cache=made, bundle=BUNDLE, device="cpu", picture_batch=40, clip_batch=4, ahead=0, afresh=STYLE_NAMES, restyled=0.0)
    batch, words = Feeds(options, 0).next(False)
    assert len(batch.target) == 40 == len(words) and not batch.mask[:, 1].any() and not batch.taught.any()
    options.afresh, options.restyled = (), FREE
    batch, _ = Feeds(options, 0).next(False)
    assert torch.equal(batch.taught, batch.mask[:, 1].amax((1, 2, 3)) == 0) and batch.mask[:, 1].any()
    assert not (batch.guided & ~batch.taught).any() and batch.guided.any()


def test_faint_styles_are_drawn_more_often(tasks: Tasks, made: Path) -> None:
    drawn = [row for row, entry in enumerate(rows_of(made / "stills")) if entry["source"] != row]
    times = {row: 3 if rows_of(made / "stills")[row]["style"] in FAINT else 1 for row in drawn}
    assert {row: tasks.styled["stills"].count(row) for row in drawn} == times and set(times.values()) == {1, 3}


def test_batches_hold_samples_side_by_side(tasks: Tasks) -> None:
    batch = tasks.batch(6, True)
    assert batch.target.shape == batch.condition.shape == (6, 16, 7, 16, 16) and batch.mask.shape == (6, 2, 7, 16, 16)
    assert batch.tokens.shape == batch.attention.shape == (6, 32) and batch.poses.shape == (6, 7, 4, 5)
    moved = batch.on(torch.device("cpu"))
    assert moved.target.dtype == torch.float32 and torch.equal(moved.target, batch.target.float()) and torch.equal(moved.tokens, batch.tokens)
    assert tasks.batch(4, False).target.shape == (4, 16, 1, 16, 16)


def test_pools_hold_every_kind_of_clip(data: Path, pictures: pytest.MonkeyPatch) -> None:
    pictures.setattr("reel_tiny.data.render.load_sprites", lambda *_: [np.full((40, 40, 4), 200, np.uint8)])
    renderer = ClipRenderer(data, data, 0, drawn_count=1)
    clips = np.stack([renderer.clip(8, 64) for _ in range(30)])
    assert clips.shape == (30, 8, 64, 64, 3) and clips.dtype == np.uint8 and len({clip.tobytes() for clip in clips}) == 30
    world = renderer.world(8, 64)
    assert world.shape == (8, 64, 64, 3) and world.std() > 0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_real_clips_are_recordings_and_photos_under_a_camera(share: float, data: Path, pictures: pytest.MonkeyPatch) -> None:
    pictures.setattr("reel_tiny.denoiser.cache.PANNED", share)
    renderer = Renderer(data, data, 0)
    renderer.photos = [[np.full((200, 220, 3), 250, np.uint8)]]
    renderer.videos = [[np.zeros((140, 150, 3), np.uint8)] * 30]
    clips = [renderer._clip(np.random.default_rng(seed)) for seed in range(4)]
    assert all(clip.shape == (25, 128, 128, 3) for clip in clips)
    assert all((clip.min() > 150) == bool(share) and (clip.max() < 50) != bool(share) for clip in clips)


def test_each_round_of_a_pool_has_clips_of_its_own(data: Path, pictures: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pictures.setattr("reel_tiny.data.render.load_sprites", lambda *_: [np.full((40, 40, 4), 200, np.uint8)])
    pictures.setattr("reel_tiny.data.pool.DRAWN", 2)
    out = tmp_path / "pool.npy"
    options = ["--data", data, "--clips", data, "--out", out, "--count", 4, "--frames", 5, "--size", 32, "--seed", 3]

    def pool(rounds: int) -> np.ndarray:
        pictures.setattr("sys.argv", ["pool", *map(str, options), "--rounds", str(rounds)])
        pool_main()
        return np.load(out)

    first, second = pool(1), pool(2)
    assert first.shape == (4, 5, 32, 32, 3) and np.array_equal(first, pool(1))
    assert len({clip.tobytes() for clip in (*first, *second)}) == 8


def test_a_worker_that_fails_is_told_of() -> None:
    def part(worker: int, workers: int) -> None:
        if worker == 1:
            raise SystemExit(3)

    with pytest.raises(RuntimeError, match="exit code 3"):
        share_out(part, 2)


@pytest.mark.parametrize("ahead", [0, 2])
def test_a_feed_goes_on_without_end(ahead: int) -> None:
    def start(seed: int):  # noqa: ANN202
        rng = np.random.default_rng(seed)
        return lambda: torch.tensor(int(rng.integers(10**9)))

    drawn = feed(start, 5, ahead)
    numbers = [next(drawn).item() for _ in range(20)]
    rngs = [np.random.default_rng(5 + worker) for worker in range(max(1, ahead))]
    assert len(set(numbers)) == 20 and set(numbers) <= {int(rng.integers(10**9)) for rng in rngs for _ in range(30)}
