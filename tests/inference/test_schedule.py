"""Solvers against diffusers' own steps and against each other."""

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from small_bundles import tiny_config

from hallo_cli.errors import SettingsError
from hallo_cli.inference.schedule import SOLVERS, alphas_cumprod, make_solver
from hallo_cli.models import compat
from hallo_cli.models.network_config import NetworkConfig

OFFICIAL = NetworkConfig.official()


def diffusers_ddim() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


@pytest.mark.parametrize("steps", [1, 4, 30, 40])
def test_ddim_takes_the_steps_of_diffusers(steps):
    scheduler, solver = diffusers_ddim(), make_solver(OFFICIAL, "ddim", steps)
    scheduler.set_timesteps(steps)
    assert solver.timesteps == tuple(scheduler.timesteps.tolist())
    latents, prediction = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    for index, timestep in enumerate(solver.timesteps):
        expected = scheduler.step(prediction, timestep, latents).prev_sample
        torch.testing.assert_close(solver.step(index, prediction, latents), expected, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers hands tensors to numpy
@pytest.mark.parametrize("config", [OFFICIAL, tiny_config()])
@pytest.mark.parametrize("steps", range(1, 41))
def test_dpm_takes_the_steps_of_diffusers(config, steps):
    scheduler = DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++",
        solver_order=2,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule=compat.beta_schedule(config, training=False),
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(steps)
    solver = make_solver(config, "dpm++", steps)
    assert solver.timesteps == tuple(scheduler.timesteps.tolist())
    found = expected = torch.randn(2, 4, 8, 8)
    for index, timestep in enumerate(solver.timesteps):
        prediction = torch.randn(2, 4, 8, 8)
        expected = scheduler.step(prediction, timestep, expected).prev_sample
        found = solver.step(index, prediction, found)
        # Diffusers' coefficients are float32: at 40 steps they have lost 1e-6 of latents that reach 4.
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_dpm_of_one_clip_knows_nothing_of_the_one_before():
    noise, results = torch.randn(1, 4, 4, 4), []
    for _ in range(2):
        solver, latents = make_solver(OFFICIAL, "dpm++", 5), noise
        for index in range(5):
            latents = solver.step(index, latents.tanh(), latents)
        results.append(latents)
    assert torch.equal(*results)


def test_forty_steps_begin_at_pure_noise():
    solver = make_solver(OFFICIAL, "ddim", 40)
    assert solver.timesteps[:2] == (999, 974)
    assert solver.timesteps[-1] == 24


@pytest.mark.parametrize("training", [True, False])
def test_last_timestep_has_no_signal(training):
    alphas = alphas_cumprod(OFFICIAL, training=training)
    assert alphas[-1] == 0
    assert (alphas.diff() < 0).all()


@pytest.mark.parametrize("kind", SOLVERS)
def test_every_solver_arrives_at_the_data(kind):
    # For normal data of deviation 1/2 the ideal prediction is linear, and the flow ends at half the noise.
    alphas = alphas_cumprod(tiny_config(), training=False)
    noise = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    solver, latents = make_solver(tiny_config(), kind, 100), noise
    for index, timestep in enumerate(solver.timesteps):
        a = alphas[timestep]
        clean = a.sqrt() * 0.25 * latents / (a * 0.25 + 1 - a)
        epsilon = (1 - a).sqrt() * latents / (a * 0.25 + 1 - a)
        latents = solver.step(index, a.sqrt() * epsilon - (1 - a).sqrt() * clean, latents)
    torch.testing.assert_close(latents, noise / 2, rtol=0.05, atol=0)  # of first order, DDIM is 4 % away


@pytest.mark.parametrize(("kind", "steps", "words"), [("euler", 4, "one of ddim"), ("ddim", 0, "1 to 1000")])
def test_what_cannot_be_solved_is_refused(kind, steps, words):
    with pytest.raises(SettingsError, match=words):
        make_solver(OFFICIAL, kind, steps)
