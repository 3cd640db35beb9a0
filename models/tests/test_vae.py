"""The VAE: frame rule, streaming, its linear start, its exported graphs. Run from models/: python -m pytest tests/test_vae.py"""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from graphs import held_outside
from export.graph import compare, write_graph
from reel_tiny.export.graph import round_to_half
from reel_tiny.vae import CausalVae, VaeConfig
from reel_tiny.vae.export import compare_streams, describe_states, example, half_graph
from reel_tiny.vae.model import TEMPORAL, CausalTime, fold_time, gather_patches, open_frames, spread_patches, squeeze_tails, stretch_tails, unfold_time
from reel_tiny.vae.muon import Muon, orthogonalise
from reel_tiny.vae.pca import start_from_pca
from reel_tiny.vae import integers, train
from reel_tiny.vae.train import Batches, Run, crops, latent_change, latent_statistics, reconstruction_loss
from reel_tiny.vae.stream import HalfStream, VaeStream, cpu_graph
from reel_tiny.weights import grown, load_vae, mean_of

torch.set_num_threads(1)
SMALL = VaeConfig(encoder_widths=(8, 16), encoder_depths=(1, 2), decoder_widths=(8, 16), decoder_depths=(1, 2), thin=4)


@pytest.fixture(scope="module")
def vae() -> CausalVae:
    """Small, with random weights everywhere, so that no part is silent."""
    generator = torch.Generator().manual_seed(0)
    vae = CausalVae(SMALL).eval().requires_grad_(False)
    for parameter in vae.parameters():
        fan = parameter[0].numel()
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan**0.5 + (parameter.ndim == 3))
    vae.set_latent_statistics(torch.linspace(-0.2, 0.2, 16), torch.linspace(0.5, 1.5, 16))
    return vae


@pytest.fixture(scope="module")
def bundle(vae: CausalVae, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle")
    write_graph(half_graph(vae.encoder, True), out / "vae_encoder/model.onnx")
    write_graph(half_graph(vae.decoder, False), out / "vae_decoder/model.onnx")
    states = {"encoder": describe_states(vae.encoder), "decoder": describe_states(vae.decoder)}
    (out / "vae_state.json").write_text(json.dumps(states))
    return out


def smooth_clips(count: int, frames: int, size: int) -> torch.Tensor:
    noise = torch.randn(count, 3, frames, size, size, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.avg_pool3d(noise, (1, 7, 7), 1, (0, 3, 3)) * 4


def test_folding_and_unfolding_are_inverse():
    x = torch.randn(2, 3, 8, 16, 24)
    folded = fold_time(x)
    assert torch.equal(folded[2 * 5 + 1], x[1, :, 5])
    assert torch.equal(unfold_time(folded, 2), x)
    latent_frames = fold_time(x, TEMPORAL)
    assert torch.equal(latent_frames[2 * 1 + 1].reshape(3, TEMPORAL, 16, 24), x[1, :, TEMPORAL:])
    assert torch.equal(open_frames(latent_frames, 2), folded)


@pytest.mark.parametrize("patch", [2, 4, 8])
def test_patches_are_those_of_pytorch(patch: int):
    x = torch.randn(2, 3, 16, 24)
    patches = torch.nn.functional.pixel_unshuffle(x, patch)
    assert torch.equal(gather_patches(x, patch), patches)
    assert torch.equal(spread_patches(patches, patch), x)


def test_squeezing_tails_is_undone():
    z = torch.linspace(-20, 20, 81)
    assert torch.allclose(stretch_tails(squeeze_tails(z)), z, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 5, 13])
def test_a_clip_of_4k_plus_1_frames_is_k_plus_1_latent_frames(vae: CausalVae, frames: int):
    latents = vae.encode(smooth_clips(2, frames, 32))
    assert latents.shape == (2, 16, (frames - 1) // 4 + 1, 4, 4)
    assert vae.decode(latents).shape == (2, 3, frames, 32, 32)


def test_other_frame_counts_are_refused(vae: CausalVae):
    with pytest.raises(ValueError, match="4k\\+1 frames, got 8"):
        vae.encode(torch.zeros(1, 3, 8, 16, 16))


def test_later_frames_change_nothing_before_them(vae: CausalVae):
    x = smooth_clips(1, 13, 32)
    other = x.clone()
    other[:, :, 9:] = 1
    latents, changed = vae.encode(x), vae.encode(other)
    assert torch.equal(latents[:, :, :3], changed[:, :, :3])
    assert not torch.equal(latents[:, :, 3:], changed[:, :, 3:])
    latents_cut = latents.clone()
    latents_cut[:, :, 3:] = 0
    assert torch.equal(vae.decode(latents)[:, :, :9], vae.decode(latents_cut)[:, :, :9])


def test_a_frame_mixes_with_the_two_before_it():
    time, x, state = CausalTime(2), torch.randn(3 * 2, 2, 4, 4), torch.randn(2 * 2, 2, 4, 4)
    for weight, factor in ((time.late.weight, 1.0), (time.middle.weight, 10.0), (time.early.weight, 100.0)):
        weight.data.copy_(factor * torch.eye(2)[:, :, None, None])
    mixed, after = time(x, unfold_time(state, 2))
    frames = torch.cat([state, time.norm(x)]).reshape(5, 2, 2, 4, 4)
    torch.testing.assert_close(mixed.reshape(3, 2, 2, 4, 4), frames[2:] + 10 * frames[1:-1] + 100 * frames[:-2])
    assert torch.equal(fold_time(after), frames[3:].flatten(0, 1))


def test_batching_changes_nothing(vae: CausalVae):
    x = smooth_clips(2, 9, 32)
    assert torch.allclose(vae.encode(x)[1:], vae.encode(x[1:]), atol=1e-5)


def test_the_linear_start_is_the_projection_on_principal_components():
    vae = CausalVae(SMALL).eval().requires_grad_(False)
    x = smooth_clips(4, 13, 32)
    stream = torch.cat([x[:, :, :1]] * 3 + [x], 2)
    kept = start_from_pca(vae, stream)
    y = vae.decode(vae.encode(x))
    stream_y = vae.decoder.paint_frames(
        vae.encoder.posterior(stream, vae.encoder.empty_states(4, 32, 32, x))[0], 4, vae.decoder.empty_states(4, 32, 32, x)
    )[0]
    lost = (stream_y - stream).pow(2).sum() / (stream - stream.mean()).pow(2).sum()
    assert lost == pytest.approx(1 - kept, rel=0.05)
    assert (y - x).pow(2).mean() < 0.5 * x.pow(2).mean()


def test_orthogonalised_updates_have_singular_values_near_one():
    for shape in ((24, 200), (200, 24)):
        u, _, v = torch.linalg.svd(torch.randn(shape, generator=torch.Generator().manual_seed(2)), full_matrices=False)
        update = u * torch.logspace(0, -1.3, 24) @ v
        values = torch.linalg.svdvals(orthogonalise(torch.stack([update, -2 * update])))
        assert values.min() > 0.5 and values.max() < 1.4


def test_muon_steps_alike_whoever_does_which_part():
    generator = torch.Generator().manual_seed(3)
    shapes = [(8, 4, 3, 3), (8, 4, 3, 3), (6, 8, 1, 1)]
    weights, gradients = ([torch.randn(shape, generator=generator) for shape in shapes] for _ in range(2))

    def stepped(workers: int) -> list[torch.Tensor]:
        parts = []
        for worker in range(workers):
            parameters = [torch.nn.Parameter(weight.clone()) for weight in weights]
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
            Muon(parameters, 0.1).step(worker, workers)
            parts.append([parameter.detach() - weight for parameter, weight in zip(parameters, weights, strict=True)])
        return [sum(moves) for moves in zip(*parts, strict=True)]

    alone, shared = stepped(1), stepped(2)
    for move, other, shape in zip(alone, shared, shapes, strict=True):
        assert torch.allclose(move, other, atol=1e-5)
        # A step's root mean square is like Adam's: about a fifth of the rate.
        assert 0.01 < move.square().mean().sqrt() < 0.03, shape


def test_flicker_of_still_clips_counts_by_its_logarithm():
    x = torch.zeros(1, 3, 8, 16, 16)
    resting, flickering = torch.full_like(x, 0.02), 0.02 * (-1.0) ** torch.arange(8).view(1, 1, 8, 1, 1).expand_as(x)

    def loss(y: torch.Tensor, steady: float) -> float:
        return reconstruction_loss(y, x, 0.1, steady)[0].item()

    assert loss(resting, 0.0) < loss(flickering, 0.0) < loss(resting, 0.0) + 0.02
    # Steps of 0.04 against none, above the floor.
    more = (loss(flickering, 0.3) - loss(flickering, 0.0)) - (loss(resting, 0.3) - loss(resting, 0.0))
    assert more == pytest.approx(0.3 * np.log((0.04 + 2e-3) / 2e-3), rel=1e-3)


def test_a_frame_that_falls_behind_its_clip_counts_on_its_own(monkeypatch: pytest.MonkeyPatch):
    x = torch.zeros(1, 3, 8, 16, 16)

    def more(error: float) -> float:
        """What one frame that is off by `error` adds on its own, where the others are off by 0.05."""
        y = torch.full_like(x, 0.05)
        y[:, :, 3] = error
        counted = reconstruction_loss(y, x, 0.1, 0.0)[0]
        with monkeypatch.context() as without:
            without.setattr(train, "SAGGING", 0.0)
            return (counted - reconstruction_loss(y, x, 0.1, 0.0)[0]).item()

    assert more(0.08) == pytest.approx(0, abs=1e-6)  # 3.7 dB
    assert more(0.2) == pytest.approx(train.SAGGING / 8 * (np.log((0.04 + 4e-4) / (0.0025 + 4e-4)) - 0.5 * np.log(10)), rel=1e-3)
    given_up = [more(error) for error in (0.6, 0.9)]  # 21 and 24 dB
    assert given_up[0] == pytest.approx(given_up[1], rel=1e-4) and given_up[0] > more(0.2)


def test_a_decoder_trained_alone_leaves_the_latents_as_they_are(tmp_path: Path):
    vae = CausalVae(VaeConfig(encoder_widths=(8, 12), encoder_depths=(1, 1), decoder_widths=(8, 12), decoder_depths=(1, 1), thin=4))
    vae.set_latent_statistics(torch.full((16,), 0.3), torch.full((16,), 2.0))
    run = Run(vae, 1e-3, 1e-3)
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (2, 12, 64, 64, 3), np.uint8))
    for half in (run.shadow(None).encoder, run.shadow(None).decoder):
        assert (half.latent_mean == 0.3).all() and (half.latent_std == 2.0).all()
    assert (run.shadow(Batches(str(tmp_path / "a.npy"), 0)).encoder.latent_std != 2.0).all()


def test_a_grown_vae_makes_what_it_made(vae: CausalVae):
    deeper = VaeConfig(**SMALL.to_dict() | {"encoder_depths": (2, 3), "decoder_depths": (2, 4)})
    bigger, x = grown(CausalVae(deeper), vae).requires_grad_(False), smooth_clips(1, 9, 32)
    assert torch.equal(bigger.encode(x), vae.encode(x))
    assert torch.equal(bigger.decode(vae.encode(x)), vae.decode(vae.encode(x)))
    with pytest.raises(ValueError, match=r"weights that it lacks, decoder\.coarse\.2\."):
        grown(CausalVae(SMALL), bigger)


def test_the_change_of_latents_is_told_in_their_deviations(vae: CausalVae):
    x = smooth_clips(2, 8, 32)
    mean, _, _ = vae.encoder.posterior(x, vae.encoder.empty_states(2, 32, 32, x))
    assert latent_change(vae.encoder, x, mean).item() == 0
    assert latent_change(vae.encoder, x, mean + 0.1 * vae.encoder.latent_std[:, None, None]).item() == pytest.approx(0.01, rel=1e-3)


def test_latents_that_are_held_move_less(vae: CausalVae, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (4, 12, 48, 48, 3), np.uint8))
    monkeypatch.setattr(train, "grow_vae", lambda path: copy.deepcopy(vae).requires_grad_(True))
    x = smooth_clips(2, 8, 32)

    def moved(*options: str) -> float:
        out = tmp_path / f"run{len(options)}"
        arguments = ("--pools", str(tmp_path / "a.npy"), "--out", str(out), "--from", "BUNDLE", "--minutes", "0.05", "--workers", "1", "--muon", "0", "--lr", "3e-3", *options)
        monkeypatch.setattr("sys.argv", ["train", *arguments])
        train.main()
        encoder = load_vae(out / "checkpoint.pt").encoder
        assert torch.equal(encoder.latent_std, vae.encoder.latent_std) == bool(options)
        return latent_change(vae.encoder, x, encoder.posterior(x, encoder.empty_states(2, 32, 32, x))[0]).item()

    assert moved("--hold", "1000") < 0.3 * moved()


def test_latents_are_held_only_where_there_were_some(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    monkeypatch.setattr("sys.argv", ["train", "--pools", "none", "--out", str(tmp_path), "--minutes", "1", "--hold", "2"])
    with pytest.raises(SystemExit):
        train.main()
    assert "Expected --from beside --hold" in capsys.readouterr().err


def test_latents_are_normalised_over_clips_as_they_are(tmp_path: Path):
    vae = CausalVae(SMALL).eval().requires_grad_(False)
    vae.set_latent_statistics(torch.linspace(-0.2, 0.2, 16), torch.linspace(0.5, 1.5, 16))
    pool = np.random.default_rng(0).integers(0, 256, (1, 12, 16, 16, 3), np.uint8)
    np.save(tmp_path / "a.npy", pool)
    vae.set_latent_statistics(*latent_statistics(vae, Batches(str(tmp_path / "a.npy"), 0), count=16))
    codes = vae.encode(torch.from_numpy(pool[:, :9]).permute(0, 4, 1, 2, 3).float() / 127.5 - 1)
    assert torch.allclose(codes.mean((0, 2, 3, 4)), torch.zeros(16), atol=1e-3)
    assert torch.allclose(codes.std((0, 2, 3, 4), correction=0), torch.ones(16), atol=2e-2)


def test_frozen_weights_are_the_mean_of_the_checkpoints():
    first, second = CausalVae(SMALL), CausalVae(SMALL)
    first.set_latent_statistics(torch.full((16,), 0.3), torch.full((16,), 2.0))
    wanted = {name: (p + dict(second.named_parameters())[name]).detach() / 2 for name, p in first.named_parameters()}
    with pytest.raises(ValueError, match="Expected a share of each of the 2 networks, got 1"):
        mean_of([first, second], [1.0])
    with pytest.raises(ValueError, match="Expected shares whose sum is above 0"):
        mean_of([first, second], [1.0, -1.0])
    thirds = mean_of([copy.deepcopy(first), second], [2.0, 1.0])
    for name, p in first.named_parameters():
        torch.testing.assert_close(thirds.get_parameter(name), (2 * p + second.get_parameter(name)) / 3)
    mean = mean_of([first, second])
    assert all(torch.allclose(p, wanted[name]) for name, p in mean.named_parameters())
    assert (mean.encoder.latent_mean == 0.3).all() and (mean.decoder.latent_std == 2.0).all()


def test_crops_are_cut_from_pools(tmp_path: Path):
    # Each pixel says where it is: when, how far down, how far across.
    pool = np.stack(np.broadcast_arrays(*np.ogrid[100:116, 0:32, 200:232]), -1)[None].repeat(3, 0).astype(np.uint8)
    np.save(tmp_path / "a.npy", pool)
    batches = Batches(str(tmp_path / "a*.npy"), 0)
    drawn = batches.draw(400, 12, 16)
    assert drawn.shape == (400, 3, 12, 16, 16)
    exact = ((drawn + 1) * 127.5).permute(0, 2, 3, 4, 1)
    seen = {"streams": 0, "reversed": 0, "mirrored": 0}
    plain = [clip.round() for clip in exact if (clip - clip.round()).abs().max() < 1e-3 and clip[0, 0, 0, 1] < 32 and 100 <= clip[0, 0, 0, 0] < 116]
    # The others have other colours (a quarter, of which one in six comes out as it was) or another shade (three in ten).
    assert 0.45 < len(plain) / len(exact) < 0.65
    for clip in plain:
        times, down, across = clip[:, 0, 0, 0], clip[0, :, 0, 1], clip[0, 0, :, 2]
        assert torch.equal(clip, torch.stack(torch.broadcast_tensors(times[:, None, None], down[None, :, None], across[None, None]), -1))
        mirrored, backwards, started = across[1] < across[0], times[-1] < times[0], times[0] == times[3]
        assert torch.equal(across.sort().values, across.min() + torch.arange(16))
        steps = times.diff() * (-1 if backwards else 1)
        assert (steps[3 if started else 0 :] == 1).all() and (not started or (steps[:3] == 0).all())
        seen = {name: seen[name] + bool(flag) for name, flag in zip(seen, (started, backwards, mirrored), strict=True)}
    for name, share in (("streams", 0.3), ("reversed", 0.2), ("mirrored", 0.5)):
        assert seen[name] / len(plain) == pytest.approx(share, abs=0.1), name


def test_crops_keep_the_cost_of_a_batch(tmp_path: Path):
    np.save(tmp_path / "long.npy", np.zeros((2, 20, 112, 112, 3), np.uint8))
    np.save(tmp_path / "short.npy", np.zeros((2, 16, 80, 80, 3), np.uint8))
    long, short = (crops(Batches(str(tmp_path / f"{name}.npy"), 0), 6) for name in ("long", "short"))
    assert [tuple(next(long).shape) for _ in range(3)] == [(2, 3, 20, 96, 96), (3, 3, 12, 96, 96), (2, 3, 20, 96, 96)]
    assert [tuple(next(short).shape) for _ in range(2)] == [(6, 3, 12, 64, 64)] * 2
    with pytest.raises(ValueError, match="Run reel_tiny.data.pool first"):
        Batches(str(tmp_path / "b*.npy"), 0)


def test_clips_rendered_meanwhile_are_found(tmp_path: Path):
    pool = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (2, 12, 16, 16, 3))
    batches = Batches(str(tmp_path / "a.npy"), 0)
    batches.pools = [clips.clone() for clips in batches.pools]  # as on a device
    pool[:] = 7
    assert (batches.pools[0] == 0).all()
    batches.renew(20)
    assert (batches.pools[0] == 7).all()


def test_exported_graphs_equal_pytorch(vae: CausalVae, bundle: Path):
    assert compare(half_graph(vae.encoder, True), bundle / "vae_encoder/model.onnx").absolute < 1e-4
    assert compare(half_graph(vae.decoder, False), bundle / "vae_decoder/model.onnx").absolute < 1e-4


def test_states_are_held_by_what_the_next_call_shows_of_them(vae: CausalVae, bundle: Path):
    class Forgetful(torch.nn.Module):
        def forward(self, latents: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
            pixels, *states = vae.decoder(latents, *states)
            return pixels, *(0.9 * state for state in states)

    graph, path = half_graph(vae.decoder, False), bundle / "vae_decoder/model.onnx"
    assert compare_streams(graph, path).absolute < 1e-4
    assert compare_streams(half_graph(vae.encoder, True), bundle / "vae_encoder/model.onnx").absolute < 1e-4
    assert compare_streams(replace(graph, module=Forgetful()), path).relative > 1e-3


def test_streaming_in_chunks_equals_the_whole_clip(vae: CausalVae, bundle: Path):
    states = json.loads((bundle / "vae_state.json").read_text())
    for name, is_encoder, step in (("encoder", True, 4), ("decoder", False, 1)):
        half = vae.encoder if is_encoder else vae.decoder
        x = example(half, is_encoder, 20, 32, 48)[0].numpy()
        whole = half(torch.from_numpy(x), *half.empty_states(1, 32, 48, torch.zeros(1)))[0].numpy()
        for chunk in (1, 2):
            stream = HalfStream(bundle / f"vae_{name}/model.onnx", states[name], 1)
            stream.start(32, 48)
            size = chunk * step
            parts = [stream(np.ascontiguousarray(x[:, :, at : at + size])) for at in range(0, x.shape[2], size)]
            assert np.abs(np.concatenate(parts, 2) - whole).max() < 1e-4


def test_the_runtimes_round_trip_equals_pytorch_frame_for_frame(vae: CausalVae, bundle: Path):
    clip = np.random.default_rng(0).integers(0, 256, (9, 32, 48, 3), np.uint8)
    pixels = torch.from_numpy(clip).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    expected = vae.decode(vae.encode(pixels)).clamp(-1, 1)[0].permute(1, 2, 3, 0)
    actual = VaeStream(bundle).round_trip(clip, 8).astype(np.float32) / 127.5 - 1
    assert np.abs(actual - expected.numpy()).max() < 1.01 / 127.5


@pytest.fixture(scope="module")
def rounded(vae: CausalVae) -> dict:
    """The products of both halves of the small VAE in whole numbers, by name."""
    clips = smooth_clips(4, 9, 32)
    return integers.measure(vae, iter(clips[:, None].clamp(-1, 1)))


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_halves_in_whole_numbers_are_close_and_stream_and_their_graphs_share_their_weights(vae: CausalVae, rounded: dict, name: str, tmp_path: Path):
    half, folder = getattr(vae, name), tmp_path / f"vae_{name}"
    pixels = smooth_clips(2, 12, 32).clamp(-1, 1)
    x = pixels if name == "encoder" else vae.encoder(pixels, *vae.encoder.empty_states(2, 32, 32, pixels))[0]
    wanted = half(x, *half.empty_states(2, 32, 32, x))[0]
    for make in (integers.in_whole_numbers, integers.with_whole_weights):
        made = make(half, rounded[name])
        ours = made(x, *made.empty_states(2, 32, 32, x))[0]
        assert 0 < (ours - wanted).pow(2).mean().sqrt() < 0.05 * wanted.std()
        states, parts, step = made.empty_states(2, 32, 32, x), [], x.shape[2] // 3
        for at in range(0, x.shape[2], step):
            part, *states = made(x[:, :, at : at + step], *states)
            parts.append(part)
        assert torch.allclose(torch.cat(parts, 2), ours, atol=1e-4)
    # Holds both against PyTorch, too.
    integers.write_graphs(half, rounded[name], folder, name == "encoder")
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "model_int8.onnx", "weights.bin"}
    products = {path.name: [node.op_type for node in onnx.load(path).graph.node].count("MatMulIntegerToFloat") for path in folder.glob("*.onnx")}
    assert products == {"model.onnx": 0, "model_int8.onnx": 3 * 3 + 2 if name == "encoder" else 3 * 3 + 1}
    places = {path.name: held_outside(path) for path in folder.glob("*.onnx")}
    for conv in (f"coarse.{block}.{conv}.weight" for block in (0, 1) for conv in ("inner", "outer")):
        assert places["model.onnx"][conv] == places["model_int8.onnx"][conv]


def test_a_vae_in_whole_numbers_is_read_back_with_the_weights_of_its_float_graphs(vae: CausalVae, rounded: dict, tmp_path: Path):
    for name, is_encoder in (("encoder", True), ("decoder", False)):
        integers.write_graphs(getattr(vae, name), rounded[name], tmp_path / f"vae_{name}", is_encoder)
    again, pixels = load_vae(tmp_path), smooth_clips(1, 9, 32).clamp(-1, 1)
    made = CausalVae(vae.config)
    made.encoder, made.decoder = (round_to_half(integers.with_whole_weights(getattr(vae, name), rounded[name])) for name in ("encoder", "decoder"))
    latents = made.encode(pixels)
    torch.testing.assert_close(again.encode(pixels), latents, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again.decode(latents), made.decode(latents), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(vae.decode(latents), made.decode(latents), atol=2e-3)


def test_the_cpu_takes_the_graph_in_whole_numbers_where_there_is_one(tmp_path: Path):
    assert cpu_graph(tmp_path) == tmp_path / "model.onnx"
    (tmp_path / "model_int8.onnx").touch()
    assert cpu_graph(tmp_path) == tmp_path / "model_int8.onnx"
