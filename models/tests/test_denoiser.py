"""The denoiser: its limits at both ends of the noise, what t = 1 skips, its exported graph. python -m pytest tests/test_denoiser.py"""

import copy
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F

from graphs import held_outside
from export.graph import compare
from export.layout import read_weights
from export.sharing import share_weights
from reel_tiny.denoiser import export, integers, train
from reel_tiny.denoiser.export import add_denoiser, example
from reel_tiny.denoiser.network import Attention, Config, Denoiser, TemporalConv, enlarge
from reel_tiny.denoiser.planner import MOMENTS, POSE, WHOLE, Planner
from reel_tiny.denoiser.relist import relist
from reel_tiny.denoiser.tasks import Batch
from reel_tiny.denoiser.train import RESTING, STEADY, STILL, Guide, channel_gains, check_compiled, flow_loss, is_hidden_matrix, share_out, std_ratio
from reel_tiny.export.graph import round_to_half
from reel_tiny.precision import autocast
from reel_tiny.weights import fill, grow_denoiser, load_denoiser, load_vae, read_graph

torch.set_num_threads(1)
SMALL = Config(widths=(16, 32, 32), encoder_blocks=(1, 1), decoder_blocks=(1, 1), coarse_blocks=1, embedding=32, head_width=16, follows=True)


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    """Small, with random weights everywhere, so that no part is silent."""
    generator = torch.Generator().manual_seed(0)
    model = Denoiser(SMALL).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            # Faint pictures, so that what is made is as large as of other random weights.
            parameter.copy_(torch.randint(0, 3, parameter.shape, generator=generator))
            continue
        fan = parameter[0].numel() if parameter.ndim > 1 else 100
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan**0.5 + (parameter.ndim == 1 and "norm" in name))
    return round_to_half(model)


def test_an_untrained_network_predicts_the_best_linear_guess() -> None:
    model = Denoiser(SMALL)
    latents, _, *rest = example(3, 2, 4, 4, 5)
    sigma = torch.tensor([1.0, 0.5, 0.0])
    made = model(latents, 1000 * sigma, *rest)
    # For unit-variance data: all noise is worth itself, half and half nothing, none at all minus itself.
    assert torch.equal(made, latents * torch.tensor([1.0, 0.0, -1.0])[:, None, None, None, None])


def test_frames_see_each_other_in_a_clip(denoiser: Denoiser) -> None:
    inputs = example(1, 4, 8, 8, 5)
    before = denoiser(*inputs)
    inputs[0][:, :, 3] += 1
    after = denoiser(*inputs)
    assert (after - before)[:, :, 0].abs().max() > 1e-4


def test_what_rests_settles_in_what_is_predicted_and_not_in_training(denoiser: Denoiser) -> None:
    (latents, _, *others), sigma = example(1, 4, 8, 8, 5), 0.1
    latents = latents[:, :, :1] + 0.05 * latents
    timestep = torch.tensor([1000 * sigma])
    settling, trained = (latents - sigma * made for made in (denoiser(latents, timestep, *others), denoiser.denoise(latents, timestep, *others)[0]))
    assert settling.diff(dim=2).norm() < 0.2 * trained.diff(dim=2).norm()


def test_a_picture_in_a_batch_is_as_alone(denoiser: Denoiser) -> None:
    inputs = example(3, 1, 8, 8, 5)
    together = denoiser(*inputs)
    alone = torch.cat([denoiser(*(x[i : i + 1] for x in inputs)) for i in range(3)])
    assert (together - alone).abs().max() < 1e-5


def test_masked_words_change_nothing(denoiser: Denoiser) -> None:
    latents, timestep, text, condition, mask = example(2, 2, 8, 8, 5)
    longer = torch.cat([text, torch.zeros(2, 3, text.shape[2])], 1)
    assert (denoiser(latents, timestep, longer, condition, mask) - denoiser(latents, timestep, text, condition, mask)).abs().max() < 1e-5


def test_condition_latents_count_only_where_the_mask_says(denoiser: Denoiser) -> None:
    latents, timestep, text, condition, mask = example(1, 2, 8, 8, 5)
    elsewhere = condition + (mask.amax(1, keepdim=True) == 0)
    assert torch.equal(denoiser(latents, timestep, text, elsewhere, mask), denoiser(latents, timestep, text, condition, mask))


def test_exported_graph_equals_pytorch_at_every_shape(denoiser: Denoiser, tmp_path: Path) -> None:
    path = tmp_path / "transformer/model.onnx"
    assert compare(add_denoiser(denoiser, path), path).relative < 1e-4
    weights = read_weights(path)
    for name, parameter in denoiser.named_parameters():
        assert np.array_equal(weights[name].astype(np.float32), parameter.numpy())
        assert weights[name].dtype == (np.int8 if parameter.dtype == torch.int8 else np.float16 if parameter.ndim >= 2 else np.float32)


def test_graphs_are_given_another_list_of_things_and_keep_the_rest(denoiser: Denoiser, tmp_path: Path) -> None:
    folder = tmp_path / "transformer"
    graph = add_denoiser(copy.deepcopy(denoiser), folder / "model.onnx")
    shutil.copy(folder / "model.onnx", folder / "model_int8.onnx")
    share_weights([folder / "model.onnx", folder / "model_int8.onnx"], "weights.bin")
    held = (folder / "weights.bin").read_bytes()
    share_weights([folder / "model.onnx", folder / "model_int8.onnx"], "weights.bin")
    assert (folder / "weights.bin").read_bytes() == held
    before = read_weights(folder / "model.onnx")
    torch.manual_seed(0)
    planner = round_to_half(Planner(denoiser.config.text_width, 5)).requires_grad_(False)
    planner.thing.weight.copy_((10 * torch.randn(planner.thing.weight.shape)).half())
    planner.pictures.copy_(torch.randint(0, WHOLE + 1, planner.pictures.shape))
    relist(folder, planner)
    assert compare(graph, folder / "model.onnx").relative > 1e-3
    graph.module.planner.thing, graph.module.planner.pictures = planner.thing, planner.pictures
    assert all(compare(graph, folder / name).relative < 1e-4 for name in ("model.onnx", "model_int8.onnx"))
    after = read_weights(folder / "model.onnx")
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {"planner.thing.weight", "planner.thing.bias", "planner.pictures"}
    assert len(held_outside(folder / "model_int8.onnx")) > 50


def test_a_denoiser_in_whole_numbers_is_close_and_its_graphs_share_their_weights(denoiser: Denoiser, tmp_path: Path) -> None:
    model = copy.deepcopy(denoiser)
    model.exporting = True
    calls = [example(2, 3, 12, 10, 5), example(1, 1, 9, 7, 4)]
    rounded = integers.measure(model, calls)
    kept = {name.partition(".")[0] for name, module in model.named_modules() if isinstance(module, torch.nn.Conv2d)} - {name.partition(".")[0] for name in rounded}
    assert kept == set(integers.KEPT)
    integers.write_graphs(model, rounded, tmp_path / "transformer")
    for inputs in calls:
        wanted = model(*inputs)
        for made in (integers.in_whole_numbers(model, rounded), integers.with_whole_weights(model, rounded)):
            assert 0 < (made(*inputs) - wanted).pow(2).mean().sqrt() < 0.03 * wanted.std()
    # What is read back for training has the weights of the graph in float32.
    again = Denoiser(SMALL)
    fill(again, read_graph(tmp_path / "transformer/model.onnx")[1])
    again.exporting = True
    torch.testing.assert_close(again(*calls[0]), integers.with_whole_weights(model, rounded)(*calls[0]), rtol=2e-3, atol=2e-3)
    # So are its whole numbers, to write graphs of another network with.
    for name, kept in integers.stored(model, tmp_path / "transformer").items():
        assert (kept.kernel, kept.zero) == (rounded[name].kernel, rounded[name].zero)
        assert all(torch.equal(getattr(kept, part), getattr(rounded[name], part)) for part in ("weight", "scale", "bias"))
        torch.testing.assert_close(kept.steps, rounded[name].steps)
    # Weights lie in the order that another list of things leaves them in, so that their file is the same where they are.
    held = (tmp_path / "transformer/weights.bin").read_bytes()
    relist(tmp_path / "transformer", model.planner)
    assert (tmp_path / "transformer/weights.bin").read_bytes() == held
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "transformer").iterdir()}
    assert set(sizes) == {"model.onnx", "model_int8.onnx", "weights.bin"}
    ops = {name: [node.op_type for node in onnx.load(tmp_path / "transformer" / name).graph.node] for name in ("model.onnx", "model_int8.onnx")}
    assert ops["model_int8.onnx"].count("MatMulIntegerToFloat") == len(rounded) and "MatMulIntegerToFloat" not in ops["model.onnx"]
    places = {name: held_outside(tmp_path / "transformer" / name) for name in ops}
    for name in rounded:
        # What is less than a kilobyte stays in the graphs.
        if name not in ("up2", "skip2"):
            own = places["model_int8.onnx"]
            assert places["model.onnx"][f"{name}.weight"] == (own.get(f"{name}.weight") or own[f"{name}.product.weight"])


def test_an_export_leaves_no_graph_of_older_weights_for_cpus(denoiser: Denoiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reached(Exception):
        pass

    def stop(*_: object) -> None:
        raise Reached

    folder = tmp_path / "transformer"
    folder.mkdir()
    for name in ("model_int8.onnx", "weights.bin"):
        (folder / name).touch()
    monkeypatch.setattr(export, "add_denoiser", stop)
    with pytest.raises(Reached):
        export.export_denoiser(denoiser, tmp_path)
    assert list(folder.iterdir()) == []



def test_every_parameter_has_one_owner() -> None:
    model = Denoiser(SMALL)
    owned = share_out(model, 2)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert sorted(owned[0] + owned[1]) == sorted(names)
    matrices = [sum(p.numel() for n, p in model.named_parameters() if n in part and is_hidden_matrix(n, p)) for part in owned]
    assert min(matrices) > 0.5 * max(matrices)


def batch_of(target: torch.Tensor, condition: torch.Tensor, mask: torch.Tensor, posed: float) -> Batch:
    size, _, frames = target.shape[:3]
    words, made = torch.zeros(2, size, 1, dtype=torch.long), mask[:, 1].amax((1, 2, 3)) == 0
    return Batch(target, condition, mask, *words, torch.zeros(size), torch.zeros(size, frames, MOMENTS, POSE), torch.full((size,), posed), made, made)


BUNDLE = Path(__file__).parents[1] / "reel-tiny"


def test_brightness_shows_most() -> None:
    latents = torch.randn(1, 16, 2, 8, 8, generator=torch.Generator().manual_seed(0)).numpy()
    gains = channel_gains(BUNDLE, latents, torch.device("cpu"))
    assert abs(gains.mean() - 1) < 1e-6 and gains[0] == gains.max() > 4 * gains.median()


def test_errors_count_by_what_they_show_and_steps_of_them_by_its_square() -> None:
    """Of a network that knows the noise of a clip but for 1 in one channel, in all frames or in the last."""
    gains = torch.ones(16)
    gains[0] = 3.0
    target = torch.zeros(1, 16, 4, 2, 2)
    batch = batch_of(target, target, torch.zeros(1, 2, 4, 2, 2), posed=0)

    def loss(channel: int, frames: slice, steps: float = 0.0) -> float:
        """`steps`: by which the target changes from frame to frame."""
        target[:] = steps * torch.arange(4)[:, None, None]

        def model(noisy: torch.Tensor, timestep: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor, torch.Tensor]:
            sigma = timestep / 1000
            off = torch.zeros_like(noisy)
            off[:, channel, frames] = 1 / (sigma**2 + (1 - sigma) ** 2) ** 0.5
            return (noisy - target) / sigma + off, batch.poses

        with torch.autocast("cpu", enabled=False):
            return flow_loss(model, batch, torch.zeros(1, 1, 192), gains, torch.Generator().manual_seed(0)).item()

    squares = (gains.square() / gains.square().mean()).tolist()
    assert loss(5, slice(None)) == pytest.approx(1 / 16, rel=1e-3) and loss(0, slice(None)) == pytest.approx(3 / 16, rel=1e-3)
    step = STEADY * squares[0] / 16 / 3
    assert loss(0, slice(3, 4)) == pytest.approx(3 / 16 / 4 + (1 + STILL) * step, rel=1e-3)
    assert loss(0, slice(3, 4), RESTING**0.5) == pytest.approx(3 / 16 / 4 + (1 + STILL / 2) * step, rel=1e-2)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_guide_predicts_with_guidance_what_it_teaches_and_what_it_is_shown(denoiser: Denoiser, whole: bool, scale: float) -> None:
    latents, timestep, text, condition, mask = example(4, 3, 8, 8, 5)
    mask[:, 1] = 0
    taught, guided = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    batch = batch_of(latents, condition, mask, posed=0)._replace(taught=taught, guided=guided)
    truth, nothing = torch.full_like(latents, 7), torch.randn(1, *text.shape[1:])
    asked = []

    def denoise(*inputs: torch.Tensor, **first: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(len(inputs[0]))
        return denoiser.denoise(*inputs, **first)

    made = Guide(denoise, scale, nothing, whole)(latents, timestep, text, batch, truth)
    told, untold = (denoiser.denoise(latents, timestep, words, condition, mask, first_frame=batch.first_frame)[0] for words in (text, nothing.expand_as(text)))
    torch.testing.assert_close(made[0], (untold + scale * (told - untold))[0])
    torch.testing.assert_close(made[1], told[1])
    torch.testing.assert_close(made[2], (untold + scale * (truth - untold))[2])
    assert torch.equal(made[3], truth[3]) and asked == [4 if whole else 2] * int(scale)


def test_what_is_learnt_of_a_guide_rests_where_the_target_rests() -> None:
    """Of a guide that is wrong by 1 in the last frame, and of networks that are so there too, or nowhere."""
    target = torch.zeros(1, 16, 4, 2, 2)
    batch = batch_of(target, target, torch.zeros(1, 2, 4, 2, 2), posed=0)

    def loss(off: float, steps: float) -> float:
        """`steps`: by which the target changes from frame to frame."""
        target[:] = steps * torch.arange(4)[:, None, None]

        def network(off: float):
            def denoise(noisy: torch.Tensor, timestep: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor, torch.Tensor]:
                sigma = timestep / 1000
                wrong = torch.zeros_like(noisy)
                wrong[:, :, 3:] = off / (sigma**2 + (1 - sigma) ** 2) ** 0.5
                return (noisy - target) / sigma + wrong, batch.poses

            return denoise

        guide = Guide(network(1.0), 2.0, torch.zeros(1, 1, 192))
        with torch.autocast("cpu", enabled=False):
            return flow_loss(network(off), batch, torch.zeros(1, 1, 192), torch.ones(16), torch.Generator().manual_seed(0), guide).item()

    assert loss(1.0, steps=0) == pytest.approx(STEADY * (1 + STILL) / 3, rel=1e-3)
    assert loss(0.0, steps=0) == pytest.approx(1 / 4, rel=1e-3)
    assert loss(1.0, steps=100) == pytest.approx(0, abs=1e-3)
    assert loss(0.0, steps=100) == pytest.approx(1 / 4 + STEADY / 3, rel=1e-3)


def test_what_a_bundle_lacks_starts_as_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    known, inputs = load_denoiser(BUNDLE), example(1, 3, 8, 8, 5)
    larger = {**known.config.as_dict(), "coarse_blocks": known.config.coarse_blocks + 1, "decoder_blocks": tuple(n + 1 for n in known.config.decoder_blocks)}
    monkeypatch.setattr("reel_tiny.weights.Config", lambda **given: Config(**(given or larger)))
    grown = grow_denoiser(BUNDLE)
    assert sum(p.numel() for p in grown.parameters()) > sum(p.numel() for p in known.parameters())
    assert torch.equal(grown(*inputs), known(*inputs))


def test_latents_normalised_anew_are_made_as_the_others_were() -> None:
    vae, (latents, timestep, text, condition, mask) = load_vae(BUNDLE), example(1, 3, 8, 8, 5)
    ratio = torch.linspace(0.8, 1.2, 16)
    vae.set_latent_statistics(vae.encoder.latent_mean.clone(), ratio * vae.encoder.latent_std)
    wide = ratio[:, None, None, None]
    made = grow_denoiser(BUNDLE, vae.encoder.latent_std / load_vae(BUNDLE).encoder.latent_std)(latents / wide, timestep, text, condition / wide, mask)
    torch.testing.assert_close(made * wide, grow_denoiser(BUNDLE)(latents, timestep, text, condition, mask), rtol=1e-4, atol=1e-4)


def test_training_begins_at_a_checkpoint_as_at_a_bundle(tmp_path: Path) -> None:
    known, inputs = load_denoiser(BUNDLE), example(1, 3, 8, 8, 5)
    torch.save({"config": known.config.as_dict(), "ema": dict(known.named_parameters())}, tmp_path / "checkpoint.pt")
    torch.testing.assert_close(grow_denoiser(tmp_path / "checkpoint.pt")(*inputs), known(*inputs))
    vae = load_vae(BUNDLE)
    vae.set_latent_statistics(vae.encoder.latent_mean.clone(), 1.5 * vae.encoder.latent_std)
    torch.save({"config": vae.config.to_dict(), "ema": vae.state_dict()}, tmp_path / "vae.pt")
    torch.testing.assert_close(std_ratio(BUNDLE, tmp_path / "vae.pt"), torch.full((16,), 1.5))
    assert std_ratio(BUNDLE, None) is None and std_ratio(tmp_path / "checkpoint.pt", tmp_path / "vae.pt") is None


def test_a_position_sees_the_frames_beside_it() -> None:
    conv, x = TemporalConv(2), torch.randn(2 * 3, 2, 4, 4)
    conv.mix.weight.data = torch.cat([factor * torch.eye(2) for factor in (1.0, 10.0, 100.0)], 1)[:, :, None, None]
    frames = F.silu(conv.norm(x)).unflatten(0, (2, 3))
    none = torch.zeros_like(frames[:, :1])
    padded = torch.cat([none, frames, none], 1)
    expected = padded[:, :-2] + 10 * padded[:, 1:-1] + 100 * padded[:, 2:]
    torch.testing.assert_close(conv(x, 3, 0.5), x + 0.5 * expected.flatten(0, 1))


def test_attention_is_that_of_pytorch() -> None:
    attention, x, context = Attention(8, 4, 6), torch.randn(2, 5, 8), torch.randn(2, 3, 6)
    attention.out.weight.data = torch.eye(8)
    heads = [part.view(2, -1, 2, 4).transpose(1, 2) for part in (attention.q(x), *attention.kv(context).split(8, 2))]
    torch.testing.assert_close(attention(x, context), F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(2, 5, 8))


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (2, 9)])
def test_enlarging_takes_the_nearest_position(size: tuple[int, int]) -> None:
    small = torch.randn(2, 3, *((side + 1) // 2 for side in size))
    assert torch.equal(enlarge(small, torch.empty(1, 1, *size)), torch.nn.functional.interpolate(small, size=size, mode="nearest"))


@pytest.mark.parametrize("has_bfloat16", [False, True])
def test_a_compiler_that_loses_gradients_is_found_out(denoiser: Denoiser, has_bfloat16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"bf16": has_bfloat16})
    model = Denoiser(SMALL)
    model.load_state_dict(denoiser.state_dict())
    latents, _, text, condition, mask = example(2, 3, 8, 8, 5)
    batch = batch_of(latents, condition, mask, posed=1)
    check_compiled(model, model.denoise, batch, text, torch.ones(16))

    def changed(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
        """The network, but for what enters its last norm."""
        plain, norm = model.denoise, model.norm_out.forward

        def denoise(*inputs: torch.Tensor, **first: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            model.norm_out.forward = lambda x: norm(change(x))
            made = plain(*inputs, **first)
            model.norm_out.forward = norm
            return made

        return denoise

    with pytest.raises(RuntimeError, match="Train without --compile"):
        check_compiled(model, changed(torch.Tensor.detach), batch, text, torch.ones(16))
    # What 16 bits do to both is no fault of the compiler.
    rough = changed(lambda x: x.detach() if torch.is_autocast_enabled("cpu") else x)
    monkeypatch.setattr(model, "denoise", rough)
    check_compiled(model, rough, batch, text, torch.ones(16))


@pytest.mark.parametrize(("capabilities", "dtype"), [({"avx512_bf16": True}, torch.bfloat16), ({"bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)])
def test_bfloat16_is_for_cpus_that_calculate_in_it(capabilities: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    with autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize(
    ("main", "arguments", "told"),
    [
        (train.main, "--cache c --bundle b --planner p --out o --restyled 0.9", "Expected --restyled from 0 to 0.88, got 0.9"),
        (train.main, "--cache c --bundle b --planner p --out o --restyled -0.1", "Expected --restyled from 0 to 0.88, got -0.1"),
        (train.main, "--cache c --bundle b --out o", "Expected --planner or --from, got neither"),
        (export.main, "--out o", "Expected --denoiser, --text or both, got neither"),
        (export.main, "--text t --shares 1 --out o", "Expected --denoiser with --shares, got none"),
    ],
)
def test_options_that_make_no_sense_are_refused(main: Callable[[], None], arguments: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["main", *arguments.split()])
    with pytest.raises(SystemExit):
        main()
    assert told in capsys.readouterr().err


def test_where_a_worker_is_killed_those_that_wait_for_it_fail() -> None:
    shared = SimpleNamespace(barrier=threading.Barrier(2, timeout=60))
    sleeping = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    sleeping.start()
    threading.Thread(target=train.watch, args=([sleeping], shared), daemon=True).start()
    waiting = ThreadPoolExecutor(1).submit(shared.barrier.wait)
    sleeping.kill()
    with pytest.raises(threading.BrokenBarrierError):
        waiting.result(timeout=30)


def test_where_a_worker_fails_those_that_wait_for_it_fail_too(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SimpleNamespace(barrier=threading.Barrier(2, timeout=60))

    def take_steps(worker: int, shared: SimpleNamespace) -> None:
        if worker == 1:
            raise ValueError("of the second worker")
        shared.barrier.wait()

    monkeypatch.setattr(train, "take_steps", take_steps)
    waiting = ThreadPoolExecutor(1).submit(train.work, 0, shared)
    with pytest.raises(ValueError, match="of the second worker"):
        train.work(1, shared)
    with pytest.raises(threading.BrokenBarrierError):
        waiting.result(timeout=30)
