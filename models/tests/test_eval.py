"""What the evaluation measures with. Run from models/: python -m pytest tests/test_eval.py"""

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch

from eval import reelspace
from eval.__main__ import all_rows
from eval.clips import motion_steps, psnr, read_folder, ssim, write_clip, write_picture
from eval.edits import RESTYLES, edge_correlation, flicker
from eval.fading import between, cross_fade, shows_both
from eval.judge import ASPECTS, IGNORED, SEEN, SIDE, Examples, Judge, fade_some, grown, labels_of, load_judge, look, meant, mix, name_clips, roughen, shows_a_thing, to_input, train
from eval.prompts import Prompts, held_out_specs, said_otherwise, spread, vocabulary
from eval.row import Number, at_most, share, under
from eval.vae import HardCase, hard_cases
from eval.vae_rows import VaeRows
from reel_tiny.data.sources import read_video
from reel_tiny.world.captions import plain_caption
from reel_tiny.world.render import Spec, render
from reel_tiny.world.sampling import is_held_out
from reel_tiny.world.scenes import SCENE_NAMES
from reel_tiny.world.styles import STYLE_NAMES

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return render(Spec(None, "rain", "still", "none", 3), "")


def test_numbers_say_whether_goals_are_met() -> None:
    assert Number("x", 31.0, 31.5, 34).verdict() == "goal 31.50 missed, aim 34.00 missed"
    assert Number("x", 31.5, 31.5, 34).verdict() == "goal 31.50 met, aim 34.00 missed"
    assert share("x", 0.96, 0.8, 0.95).verdict() == "goal 80.0 % met, aim 95.0 % met"
    assert Number("x", 1.4, 1.5, 1.1, reaches=at_most).verdict() == "goal 1.50 met, aim 1.10 missed"
    assert Number("x", 1.6, least=1.5, reaches=at_most).verdict() == "goal 1.50 missed"
    assert Number("x", 1.0, 1, 0, "{:.0f}", reaches=under).verdict() == "goal 1 missed, aim 0 missed"
    assert Number("x", 0.0, 1, 0, "{:.0f}", reaches=under).verdict() == "goal 1 met, aim 0 met"
    assert Number("x", 1.0).verdict() == ""


def test_psnr_and_ssim_of_known_errors(clip: np.ndarray) -> None:
    assert (psnr(clip, clip) == 60).all()
    assert np.allclose(ssim(clip[:2], clip[:2]), 1)
    shifted = np.clip(clip, 0, 245) + np.uint8(10)
    assert np.allclose(psnr(shifted, np.clip(clip, 0, 245)), 20 * np.log10(25.5), atol=1e-4)
    rough = np.clip(clip.astype(int) + np.random.default_rng(0).integers(-60, 60, clip.shape), 0, 255).astype(np.uint8)
    assert (ssim(rough[:2], clip[:2]) < 0.6).all()


@pytest.mark.parametrize(("capabilities", "dtype"), [({"bf16": True}, "bf16"), ({"avx2": True}, "float32")])
def test_speed_is_held_against_the_fastest_that_pytorch_has(capabilities: dict[str, bool], dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    seen = []

    class Recorder:
        def to(self, memory_format: torch.memory_format) -> "Recorder":
            seen.append(memory_format)
            return self

        def encode(self, pixels: torch.Tensor) -> torch.Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return pixels

        decode = encode

    def seconds(runtime: Callable[[], None], reference: Callable[[], None]) -> list[float]:
        reference()
        return [1.0, 0.5]

    monkeypatch.setattr("eval.vae_rows.load_vae", lambda path: Recorder())
    monkeypatch.setattr("eval.vae_rows.best_seconds", seconds)
    bundle = Path(__file__).parent.parent / "reel-tiny"
    real_time, ratio = VaeRows(bundle, Path(), Path()).speed()
    assert (real_time.value, ratio.value) == (16 / 24, 0.5)
    assert seen == [torch.channels_last, dtype == "bf16", dtype == "bf16"]
    assert ratio.what == f"against PyTorch in {dtype}, the same weights"
    assert ratio.verdict() == ("goal 0.90x missed, aim 1.30x missed" if dtype == "bf16" else "")


def test_clips_and_pictures_are_written_without_loss(clip: np.ndarray, tmp_path: Path) -> None:
    write_clip(clip[:5], tmp_path / "a.mkv", 12)
    assert np.array_equal(np.stack(read_video(tmp_path / "a.mkv")), clip[:5])
    for index in (1, 0):
        write_picture(clip[index], tmp_path / f"pictures/{index}.png")
    assert np.array_equal(read_folder(tmp_path / "pictures"), clip[:2])


def test_clips_are_made_anew_for_another_bundle_or_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, manifest = tmp_path / "program.js", tmp_path / "reelspace.json"
    monkeypatch.setattr(reelspace, "PROGRAM", program)
    monkeypatch.setattr(reelspace, "program_files", lambda: [program])
    seen = set()
    for code, name in (("a", "x"), ("b", "x"), ("a", "y")):
        program.write_text(code)
        manifest.write_text(name)
        seen.add(reelspace.Reelspace(tmp_path, tmp_path).version)
    assert len(seen) == 3


def test_stills_neither_move_nor_flicker(clip: np.ndarray) -> None:
    still = np.repeat(clip[:1], 9, 0)
    assert motion_steps(still).max() == 0 and flicker(still) == 0
    blinking = still.copy()
    blinking[::2] //= 2
    assert motion_steps(clip).min() > 0
    assert flicker(blinking) > 4 * flicker(clip) > 0


def test_edges_correlate_with_themselves_alone(clip: np.ndarray) -> None:
    other = render(Spec(None, "city", "still", "none", 3), "")
    assert edge_correlation(clip[:3], clip[:3]) == pytest.approx(1)
    assert edge_correlation(other[:3], clip[:3]) < 0.4


def test_two_pictures_through_each_other_are_told_from_two_side_by_side() -> None:
    rng = np.random.default_rng(4)
    first, last, third = (cv2.resize(rng.integers(0, 255, (12, 12, 3), np.uint8), (128, 128), interpolation=cv2.INTER_CUBIC) for _ in range(3))
    fade = cross_fade(np.stack([first] * 12 + [last]))
    assert between(fade).tolist() == [False] * 3 + [True] * 7 + [False] * 3
    assert (shows_both(fade)[between(fade)] > 0.99).all() and (shows_both(fade)[~between(fade)] < 0.01).all()
    wipe = np.stack([np.where(np.arange(128)[:, None, None] < 16 * edge, last, first) for edge in range(9)])
    assert between(wipe)[1:-1].all() and (shows_both(wipe) == 0).all()
    # Neither of them, and one of them with some noise.
    noisy = np.clip(first + rng.normal(0, 25, first.shape), 0, 255).astype(np.uint8)
    assert (shows_both(np.stack([first, third, noisy, last])) < 0.05).all()
    # Half of it fades as one, and the other half has changed.
    half = np.concatenate([(first[:64] // 2 + last[:64] // 2), last[64:]])
    assert 0.3 < shows_both(np.stack([first, half, last]))[1] < 0.7
    # The same, where the half that fades hardly changes.
    faint = np.concatenate([np.round(0.8 * first[:64] + 0.2 * last[:64]).astype(np.uint8), last[64:]])
    halfway = np.concatenate([np.round(0.9 * first[:64] + 0.1 * last[:64]).astype(np.uint8), last[64:]])
    assert 0 < shows_both(np.stack([first, halfway, faint]))[1] < 0.1


def test_frames_are_held_against_others_of_their_recording() -> None:
    case = HardCase(np.zeros((6, 8, 8, 3), np.uint8), np.ones(6, bool), np.array([0, 0, 0, 1, 1, 1]))
    assert case.lag(np.array([35.0, 30, 36, 25, 26, 20])).tolist() == [0, -5, 1, 0, 1, -5]


def test_hard_cases_say_what_each_frame_shows() -> None:
    clips = {name: np.full((frames, 128, 168, 3), grey, np.uint8) for name, frames, grey in (("sign-bird", 61, 10), ("tree", 65, 200), ("videoFire1080p", 25, 90))}
    cases = hard_cases(clips)
    for name in ("hard cut", "301 frames, there and back"):
        assert cases[name].usual.all() and np.array_equal(cases[name].clip[:, 0, 0, 0] == 200, cases[name].shown == 1) and 0 < cases[name].shown.mean() < 1
    assert len(cases["301 frames, there and back"].clip) == 301
    flash = cases["flash (2 white frames)"]
    assert np.flatnonzero(~flash.usual).tolist() == np.flatnonzero(flash.clip[:, 0, 0, 0] == 255).tolist() == [22, 23]
    assert all(len(case.clip) == len(case.usual) == len(case.shown) for case in cases.values())


def test_spread_is_none_among_equals(clip: np.ndarray) -> None:
    assert spread([clip, clip, clip]) == 0
    assert spread([np.zeros_like(clip), np.full_like(clip, 100)]) == pytest.approx(100)


def test_every_style_is_asked_for() -> None:
    assert tuple(RESTYLES) == STYLE_NAMES[1:]


def test_prompts_are_held_out_and_the_same_for_any_count() -> None:
    specs = held_out_specs(60)
    assert all(is_held_out(spec) for spec in specs)
    assert held_out_specs(20) == specs[:20]
    rng = np.random.default_rng(0)
    assert np.mean([said_otherwise(spec, rng) != plain_caption(spec) for spec in specs]) > 0.9
    assert all(number.verdict() for number in vocabulary())


@pytest.mark.parametrize(("asked", "counts"), [(None, [500, 100, 500, 48, 48, 12, 12, 40]), (7, [7] * 8)])
def test_rows_are_measured_by_as_many_runs_as_in_the_card_or_as_are_asked_for(asked: int | None, counts: list[int]) -> None:
    made = Mock()
    parts = SimpleNamespace(options=SimpleNamespace(runs=asked, data=None, clips=None), prompts=made, edits=made)
    for row in all_rows(parts):
        if row.key not in ("fidelity", "worst", "sizes", "speed", "latents", "vocabulary"):
            row.measure()
    assert [call.args[0] for call in made.mock_calls if call.args] == counts


def test_prompts_are_judged_by_what_they_speak_of(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"a fox": ("fox", "snow", "left", "none"), "a cat": ("dog", "snow", "left", "neon")}
    prompts = Prompts.__new__(Prompts)
    prompts.judge = None
    prompts.make = lambda prompt, seed, *arguments: (prompt, seed, arguments)
    monkeypatch.setattr("eval.prompts.name_clips", lambda _, clips: [dict(zip(ASPECTS, named[clip[0]], strict=True)) for clip in clips])
    wanted = [dict(zip(ASPECTS, one, strict=True)) for one in (("fox", None, "left", "none"), ("cat", "snow", None, "none"))]
    assert prompts.hits(["a fox", "a cat"], wanted) == {"thing": [True, False], "scene": [True], "motion": [True], "style": [True, False]}
    specs = [Spec("fox", "snow", "left", "none", 0), Spec("cat", "snow", "left", "none", 0), Spec("bat", "sea", "left", "none", 0)]
    monkeypatch.setattr("eval.prompts.held_out_specs", lambda count: specs[:count])
    assert prompts.right(["a fox", "a cat"]) == {"thing": 0.5, "scene": 1, "motion": 1, "style": 0.5}
    monkeypatch.setattr("eval.prompts.plain_caption", lambda spec: f"a {spec.thing}")
    assert [number.value for number in prompts.accuracy(2)] == [50, 100, 100, 50]
    assert [number.value for number in prompts.accuracy(1)] == [100] * 4
    asked = []
    prompts.right = lambda said, *arguments: asked.append((said, arguments)) or {"thing": 1.0 if "30" in arguments else 0.5}
    assert [number.value for number in prompts.steps(2)] == [100, 50, 50]
    assert asked == [(["a fox", "a cat"], ("--steps", steps)) for steps in ("30", "8", "4")]


def test_the_judge_sees_five_moments_of_any_clip(clip: np.ndarray) -> None:
    clip = clip[:, :96, 8:]  # of another size than it sees
    seen = look(clip)
    assert seen.shape == (len(SEEN), 3, SIDE, SIDE)
    for at, frame in enumerate((0, 6, 12, 18, 24)):
        assert np.array_equal(seen[at].transpose(1, 2, 0), cv2.resize(clip[frame], (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    assert np.array_equal(look(clip[:1])[0], look(clip[:1])[4])


def test_labels_name_what_is_meant() -> None:
    spec = Spec("fox", "snow", "left", "pencil", 0)
    assert meant(spec) == {"thing": "fox", "scene": "snow", "motion": "left", "style": "pencil"}
    assert meant(Spec(None, "snow", "still", "none", 0))["thing"] == "nothing"
    assert labels_of(None, "sepia") == [IGNORED, IGNORED, IGNORED, STYLE_NAMES.index("sepia")]


def test_faded_clips_are_mixed_and_named_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 1, 1, 2, 2, generator=generator)
    labels = torch.arange(400)[:, None].repeat(1, 4)
    mixed, told, faded = fade_some(x, labels, generator)
    assert 0.05 < faded.float().mean() < 0.25
    assert (told[faded] == IGNORED).all() and torch.equal(told[~faded], labels[~faded])
    assert torch.equal(mixed[~faded], x[~faded]) and (mixed[faded] != x[faded]).any((1, 2, 3, 4)).all()


def test_a_judge_of_another_world_is_refused(tmp_path: Path) -> None:
    torch.save({"names": {name: ["dodo"] for name in ASPECTS}, "judge": Judge().state_dict()}, tmp_path / "judge.pt")
    with pytest.raises(ValueError, match="Train it again"):
        load_judge(tmp_path / "judge.pt")


def test_the_judge_knows_every_scene() -> None:
    specs = [Spec(None, scene, "still", "none", 7) for scene in SCENE_NAMES]
    named = name_clips(load_judge(), [render(spec, "") for spec in specs])
    assert [said["scene"] for said in named] == list(SCENE_NAMES)
    assert {said["style"] for said in named} == {"none"}
    assert sum(said["thing"] == "nothing" for said in named) >= len(specs) - 2


def write_examples(folder: Path, pixels: np.ndarray, of: Spec | None, *styles: str) -> None:
    folder.mkdir()
    np.save(folder / "pixels.npy", np.stack([pixels for _ in styles]))
    (folder / "rows.json").write_text(json.dumps([{"spec": of and asdict(of), "style": style, "source": 0} for style in styles]))


def test_a_thing_is_seen_in_each_frame_by_itself(clip: np.ndarray) -> None:
    # Pictures of things on a meadow, as the renderer draws them.
    sheet = cv2.imread(str(Path(__file__).parents[1] / "reel-tiny/morphs.jpg"))[:, :, ::-1]
    things = [sheet[128 * row : 128 * row + 128, :128] for row in range(6)]
    fog = cv2.GaussianBlur(things[0], (0, 0), 24)
    assert shows_a_thing(load_judge(), np.stack([*things, clip[0], fog])).tolist() == [True] * 6 + [False] * 2


def test_training_examples_tell_of_the_small_world_and_of_styles(clip: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {"real": (255 - clip, None, "sepia"), "stills": (255 - clip[:1], None, "comic")}
    for name, example in sets.items():
        write_examples(tmp_path / name, *example)
    drawn = Spec(None, "rain", "still", "none", 3)
    monkeypatch.setattr("eval.judge.sample_spec", lambda *_, held_out, **__: pytest.fail("held out") if held_out is not False else drawn)
    examples, batches = Examples(tmp_path, "", 0), {}
    while len(batches) < 2:
        seen, labels = examples.batch(60)
        batches[seen.shape[1]] = seen, labels
    seen, labels = batches[len(SEEN)]
    assert len(seen) == 60 and len(batches[1][0]) == 60 * len(SEEN)
    for name, (pixels, of, style) in {**sets, "world": (clip, drawn, "none")}.items():
        found = (labels == torch.tensor(labels_of(of, style))).all(1)
        assert found.any() and (seen[found] == torch.from_numpy(look(pixels))).all()
    # Single frames of one batch are of one moment, whichever that is.
    seen, labels = batches[1]
    found = (labels == torch.tensor(labels_of(drawn, "none"))).all(1)
    assert 0.6 < found.float().mean() < 0.9 and (seen[found] == seen[found][:1]).all()


def test_faint_styles_of_the_real_world_are_shown_to_the_judge_more_often(clip: np.ndarray, tmp_path: Path) -> None:
    for name in ("real", "stills"):
        write_examples(tmp_path / name, clip, None, "sepia", "pixel")
    order = [(0, "sepia"), *[(1, "pixel")] * 3]
    assert Examples(tmp_path, "", 0).order == {"real": order, "stills": order}


def test_a_judge_grows_by_names_and_says_of_the_first_ones_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = torch.randn(2, len(SEEN), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    fewer = {name: names[: len(names) // (2 if name == "thing" else 1)] for name, names in ASPECTS.items()}
    with monkeypatch.context() as patched:
        patched.setattr("eval.judge.ASPECTS", fewer)
        small = Judge().eval()
    torch.save({"names": {name: list(names) for name, names in fewer.items()}, "judge": small.state_dict()}, tmp_path / "judge.pt")
    with torch.no_grad():
        (before, faded), (after, still_faded) = small(seen), grown(tmp_path / "judge.pt").eval()(seen)
    known = after["thing"][:, : len(fewer["thing"])]
    torch.testing.assert_close(known - known[:, :1], before["thing"] - before["thing"][:, :1], rtol=1e-3, atol=0.05)
    torch.testing.assert_close(after["scene"], before["scene"])
    torch.testing.assert_close(still_faded, faded)
    torch.save({"names": {name: ["dodo"] for name in ASPECTS}, "judge": small.state_dict()}, tmp_path / "judge.pt")
    with pytest.raises(ValueError, match="leave out --start"):
        grown(tmp_path / "judge.pt")


def test_the_mean_of_two_judges_holds_their_batch_statistics_too() -> None:
    judge, other = Judge(8), Judge(8)
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    other.body[1].running_mean.fill_(3.0)
    mix(judge, other)
    for name, value in judge.state_dict().items():
        torch.testing.assert_close(value, (before[name] + other.state_dict()[name]) / 2 if value.is_floating_point() else before[name])


def test_roughened_frames_keep_their_size_and_their_order() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.linspace(-1, 1, 5)[None, :, None, None, None].expand(2, 5, 3, SIDE, SIDE)
    rough = roughen(x, generator)
    assert rough.shape == x.shape and not torch.equal(rough, x)
    assert (rough.mean((2, 3, 4)).diff(dim=1) > 0.3).all()


def test_a_judge_learns_what_it_is_shown() -> None:
    seen = torch.randint(0, 256, (8, len(SEEN), 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[n, n, n, n] for n in range(8)])
    judge = Judge(8)
    train(judge, itertools.repeat((seen, labels)), torch.device("cpu"), 150, 3e-3)
    answers, _ = judge(to_input(seen))
    assert not judge.training and {name: told.argmax(1).tolist() for name, told in answers.items()} == dict.fromkeys(ASPECTS, list(range(8)))
