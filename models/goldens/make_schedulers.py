"""Writes test/goldens/schedulers.safetensors: whole runs of diffusers' schedulers, which src/schedulers must repeat.

Run from the repository root: python models/goldens/make_schedulers.py. Needs torch, diffusers >= 0.37 and scipy.

Each case is a config, a step count and, where set, a strength, a sequence length, given sigmas, and a tolerance of its own. The network is a fixed
function of latents and timestep, made of float32 operations that any language rounds alike (see `predict`).
"""

import inspect
import json

import diffusers
import numpy as np
import torch
from diffusers import schedulers
from safetensors.torch import save_file

SHAPE = (1, 2, 3, 2, 3)
SEED = 11
CLEAN_SEED = 12
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LTX = {
    "use_dynamic_shifting": True,
    "base_shift": 0.95,
    "max_shift": 2.05,
    "base_image_seq_len": 1024,
    "max_image_seq_len": 4096,
    "shift_terminal": 0.1,
}
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
SPACINGS = ("linspace", "leading", "trailing")


def cases():
    """Yields (class name, config, steps, extras)."""
    name = "FlowMatchEulerDiscreteScheduler"
    yield name, {}, 4, {}
    yield name, {"shift": 3.0}, 4, {}
    yield name, {"shift": 7.0, "num_train_timesteps": 500}, 1, {}
    yield name, {"shift": 3.0}, 10, {"strength": 0.65}
    yield name, {"shift": 7.0}, 4, {"sigmas": [1.0, 0.75, 0.5, 0.25]}
    yield name, LTX, 4, {"sigmas": [1.0, 0.75, 0.5, 0.25], "sequence": 7392}
    yield name, {**LTX, "shift_terminal": None, "time_shift_type": "linear"}, 5, {"sequence": 2000}
    yield name, {"use_dynamic_shifting": True}, 3, {"sequence": 300}
    for ramp in ("karras", "exponential", "beta"):
        yield name, {"shift": 2.0, f"use_{ramp}_sigmas": True}, 7, {}

    name = "FlowMatchHeunDiscreteScheduler"
    for steps in (1, 2, 3, 8):
        yield name, {"shift": 3.0}, steps, {}
    yield name, {}, 6, {"strength": 0.5}

    name = "UniPCMultistepScheduler"
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    for steps in (1, 2, 3, 4, 12):
        yield name, flow, steps, {}
    yield name, flow, 10, {"strength": 0.45}
    yield name, {**flow, "solver_order": 3, "flow_shift": 5.0}, 9, {}
    yield name, {**flow, "solver_order": 1}, 5, {}
    yield name, {**flow, "solver_order": 3, "solver_type": "bh1", "final_sigmas_type": "sigma_min"}, 8, {}
    yield name, {**flow, "final_sigmas_type": "sigma_min", "lower_order_final": False}, 6, {}
    yield name, {**flow, "shift_terminal": 0.02, "flow_shift": 1.0}, 5, {"sigmas": [1.0, 0.8, 0.6, 0.4, 0.2]}
    yield name, {**flow, "use_dynamic_shifting": True}, 5, {"sequence": 1500}
    yield name, {**flow, "use_karras_sigmas": True}, 6, {}
    yield name, {**flow, "disable_corrector": [0, 2]}, 6, {}
    yield name, {}, 10, {}
    for spacing in SPACINGS:
        yield name, {**SD, "timestep_spacing": spacing, "steps_offset": 1}, 7, {}
    yield name, {**SD, "solver_order": 3, "prediction_type": "v_prediction"}, 9, {}
    yield name, {**SD, "solver_order": 3, "solver_type": "bh1", "final_sigmas_type": "sigma_min"}, 9, {}
    yield name, {**SD, "prediction_type": "sample", "beta_schedule": "squaredcos_cap_v2"}, 6, {}
    yield name, {**SD, "use_karras_sigmas": True, "sigma_min": 0.05, "sigma_max": 10.0}, 6, {"strength": 0.7}
    yield name, {**SD, "use_exponential_sigmas": True}, 6, {}
    yield name, {**SD, "use_beta_sigmas": True}, 6, {}
    yield name, {**SD, **ZERO_SNR}, 6, {}

    name = "DPMSolverMultistepScheduler"
    for steps in (1, 2, 3, 10, 16):
        yield name, SD, steps, {}
    yield name, {}, 6, {}
    for spacing in SPACINGS:
        yield name, {**SD, "timestep_spacing": spacing, "steps_offset": 1, "prediction_type": "v_prediction"}, 7, {}
    for algorithm in ("dpmsolver++", "sde-dpmsolver++"):
        for solver in ("midpoint", "heun"):
            for order in (1, 2, 3):
                yield name, {**SD, "algorithm_type": algorithm, "solver_type": solver, "solver_order": order}, 8, {}
    yield name, {**SD, "algorithm_type": "sde-dpmsolver++"}, 10, {"strength": 0.55}
    yield name, {**SD, "use_karras_sigmas": True}, 8, {}
    yield name, {**SD, "use_karras_sigmas": True, "beta_schedule": "squaredcos_cap_v2"}, 8, {}
    yield name, {**SD, "use_exponential_sigmas": True}, 8, {}
    yield name, {**SD, "use_beta_sigmas": True}, 8, {}
    yield name, {**SD, "euler_at_final": True, "final_sigmas_type": "sigma_min"}, 16, {}
    yield name, {**SD, "final_sigmas_type": "sigma_min", "lower_order_final": False, "solver_order": 3}, 8, {}
    yield name, {**SD, **ZERO_SNR}, 6, {}
    for algorithm in ("dpmsolver++", "sde-dpmsolver++"):
        yield name, {**flow, "algorithm_type": algorithm}, 8, {}
    yield name, {**flow, "solver_order": 3}, 20, {"strength": 0.5}
    yield name, {**flow, "use_dynamic_shifting": True}, 6, {"sequence": 1500}

    name = "DDIMScheduler"
    for steps in (1, 2, 3, 10):
        yield name, {}, steps, {}
    for spacing in SPACINGS:
        for prediction in ("epsilon", "v_prediction", "sample"):
            config = {**SD, "clip_sample": False, "steps_offset": 1, "timestep_spacing": spacing}
            yield name, {**config, "prediction_type": prediction}, 7, {}
    # Of these steps, numpy's rounding puts some halves just below the half.
    yield name, {**SD, "clip_sample": False, "timestep_spacing": "trailing"}, 48, {"strength": 0.96}
    yield name, {**SD, "set_alpha_to_one": False, "clip_sample": False}, 10, {"strength": 0.75}
    yield name, {"beta_schedule": "linear", "clip_sample_range": 2.0, "timestep_spacing": "linspace"}, 6, {}
    yield name, {"beta_schedule": "squaredcos_cap_v2", "clip_sample": False, "prediction_type": "sample"}, 6, {}
    yield name, {**SD, **ZERO_SNR, "clip_sample": False}, 5, {}
    betas = [0.001 * (1 + i) for i in range(20)]
    yield name, {"num_train_timesteps": 20, "trained_betas": betas, "clip_sample": False}, 5, {}

    cogvideox = {**SD, **ZERO_SNR, "clip_sample": False, "set_alpha_to_one": True}
    for name in ("CogVideoXDDIMScheduler", "CogVideoXDPMScheduler"):
        for steps in (1, 3, 8):
            yield name, cogvideox, steps, {}
        yield name, {**cogvideox, "snr_shift_scale": 1.0}, 10, {"strength": 0.8}
        yield name, {"beta_schedule": "linear", "set_alpha_to_one": False}, 6, {}

    name = "EulerDiscreteScheduler"
    for steps in (1, 2, 3, 10):
        yield name, {}, steps, {}
    for spacing in SPACINGS:
        for prediction in ("epsilon", "v_prediction", "sample"):
            config = {**SD, "steps_offset": 1, "timestep_spacing": spacing, "prediction_type": prediction}
            yield name, config, 7, {}
    for ramp in ("karras", "exponential", "beta"):
        yield name, {**SD, f"use_{ramp}_sigmas": True}, 7, {}
    yield name, {**SD, "use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 8.0}, 7, {}
    yield name, {**SD, "final_sigmas_type": "sigma_min"}, 10, {"strength": 0.35}
    # Latents begin at 4096, of which float32 keeps 2e-4; diffusers' first step subtracts there.
    yield name, {**SD, **ZERO_SNR}, 6, {"tolerance": 1e-4}

    name = "EulerAncestralDiscreteScheduler"
    for steps in (1, 2, 3, 10):
        yield name, {}, steps, {}
    for spacing in SPACINGS:
        for prediction in ("epsilon", "v_prediction"):
            config = {**SD, "steps_offset": 1, "timestep_spacing": spacing, "prediction_type": prediction}
            yield name, config, 7, {}
    yield name, {**SD, **ZERO_SNR}, 6, {"strength": 0.5}

    name = "LCMScheduler"
    for steps in (1, 2, 3, 4, 8):
        yield name, {}, steps, {}
    yield name, {"clip_sample": True, "prediction_type": "v_prediction", "timestep_scaling": 3.0}, 4, {}
    yield name, {"original_inference_steps": 30, "prediction_type": "sample"}, 7, {"strength": 0.6}
    yield name, {**ZERO_SNR, "original_inference_steps": 20}, 4, {}

    name = "PNDMScheduler"
    for steps in (1, 2, 3, 10):
        yield name, {**SD, "skip_prk_steps": True, "steps_offset": 1}, steps, {}
    for spacing in SPACINGS:
        config = {**SD, "skip_prk_steps": True, "timestep_spacing": spacing, "prediction_type": "v_prediction"}
        yield name, config, 7, {}
    yield name, {**SD, "skip_prk_steps": True, "set_alpha_to_one": True}, 10, {"strength": 0.6}


def predict(latents, timestep):
    """Returns (0.3 + 0.4 t/1000)·x + 0.2·x/(1 + |x|) + 0.1·c, with c a fixed pattern of each element's place."""
    slope = torch.tensor(0.3 + 0.4 * float(timestep) / 1000, dtype=torch.float32)
    places = torch.arange(latents.numel())
    pattern = ((places * 7) % 11).float().reshape(latents.shape) / 11 - 0.5
    bent = torch.tensor(0.2) * (latents / (1 + latents.abs()))
    return slope * latents + bent + torch.tensor(0.1) * pattern


def shift_of(config, length):
    """Returns mu as diffusers' pipelines compute it (`calculate_shift`)."""
    low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    short, long = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    slope = (high - low) / (long - short)
    return length * slope + (low - slope * short)


def plan(scheduler, config, steps, extras):
    arguments = {}
    if "sigmas" in extras:
        arguments["sigmas"] = np.array(extras["sigmas"])
    else:
        arguments["num_inference_steps"] = steps
    if "sequence" in extras:
        arguments["mu"] = shift_of(config, extras["sequence"])
    scheduler.set_timesteps(**arguments)


def run(class_name, config, steps, extras):
    """Returns the arrays of one case."""
    scheduler = getattr(schedulers, class_name)(**config)
    plan(scheduler, config, steps, extras)
    kept = min(int(steps * extras.get("strength", 1.0)), steps)
    first = (steps - kept) * scheduler.order
    timesteps = scheduler.timesteps[first:]
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn(SHAPE, generator=generator)
    clean = torch.randn(SHAPE, generator=torch.Generator().manual_seed(CLEAN_SEED))

    def add_noise(call):
        if hasattr(scheduler, "set_begin_index"):
            scheduler._step_index = None
            scheduler.set_begin_index(first + call)
        if hasattr(scheduler, "scale_noise"):
            noised = scheduler.scale_noise(clean, timesteps[call : call + 1], noise)
        else:
            noised = scheduler.add_noise(clean, noise, timesteps[call : call + 1])
        if hasattr(scheduler, "set_begin_index"):
            scheduler._step_index = None
            scheduler.set_begin_index(first)
        return noised

    noised = torch.stack([add_noise(call) for call in range(len(timesteps))])
    scale = float(getattr(scheduler, "init_noise_sigma", 1.0))
    latents = noised[0] if "strength" in extras else noise * scale
    arrays = {"timesteps": timesteps.float(), "noised": noised, "scale": torch.tensor(scale)}
    if hasattr(scheduler, "sigmas"):
        arrays["sigmas"] = scheduler.sigmas[first:].clone()

    path, cleaned = [], []
    before = None
    for timestep in timesteps:
        scaled = scheduler.scale_model_input(latents, timestep) if hasattr(scheduler, "scale_model_input") else latents
        prediction = predict(scaled, timestep)
        options = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
        if class_name == "CogVideoXDPMScheduler":
            # Its callers remember the last step for it.
            latents, implied = scheduler.step(prediction, cleaned[-1] if cleaned else None, timestep, before, latents, **options)
            path.append(latents)
            cleaned.append(implied)
            before = timestep
            continue
        result = scheduler.step(prediction, timestep, latents, **options)
        latents = result.prev_sample
        path.append(latents)
        implied = getattr(result, "pred_original_sample", None)
        if implied is None:
            implied = getattr(result, "denoised", None)
        if implied is None and getattr(scheduler, "model_outputs", None):
            implied = scheduler.model_outputs[-1]
        if implied is not None:
            cleaned.append(implied)
    arrays["latents"] = torch.stack(path)
    if cleaned:
        arrays["denoised"] = torch.stack(cleaned)
    for name, array in arrays.items():
        assert array.dtype == torch.float32, (class_name, config, name, array.dtype)
        assert bool(torch.isfinite(array).all()), (class_name, config, name)
    return arrays


def switched():
    """Returns the levels that diffusers' from_config gives other classes for one model's scheduler_config.json."""
    config = {
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.6.0",
        **SD,
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction",
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "timestep_spacing": "trailing",
        "trained_betas": None,
    }
    classes = {
        "euler": ("EulerDiscreteScheduler", {}),
        "euler-a": ("EulerAncestralDiscreteScheduler", {}),
        "unipc": ("UniPCMultistepScheduler", {}),
        "dpm++": ("DPMSolverMultistepScheduler", {}),
        "dpm++sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
        "ddim": ("DDIMScheduler", {}),
        "lcm": ("LCMScheduler", {}),
        "pndm": ("PNDMScheduler", {}),
    }
    levels = {}
    for name, (class_name, changes) in classes.items():
        scheduler = getattr(schedulers, class_name).from_config(config, **changes)
        scheduler.set_timesteps(5)
        timesteps = [float(timestep) for timestep in scheduler.timesteps]
        alphas = [float(scheduler.alphas_cumprod[int(timestep)]) for timestep in timesteps]
        levels[name] = {"className": class_name, "timesteps": timesteps, "alphas": alphas}
    return {"config": config, "levels": levels}


def main():
    torch.set_num_threads(1)
    arrays, listed = {}, []
    for index, (class_name, config, steps, extras) in enumerate(cases()):
        listed.append({"config": {"_class_name": class_name, **config}, "steps": steps, **extras})
        for name, array in run(class_name, config, steps, extras).items():
            arrays[f"{index}/{name}"] = array.contiguous()
    metadata = {
        "cases": json.dumps(listed),
        "switched": json.dumps(switched()),
        "versions": f"diffusers {diffusers.__version__}, torch {torch.__version__}, numpy {np.__version__}",
        "seeds": json.dumps({"noise": SEED, "clean": CLEAN_SEED}),
    }
    save_file(arrays, "test/goldens/schedulers.safetensors", metadata)
    print(f"{len(listed)} cases")


if __name__ == "__main__":
    main()
