"""Every inversion against a slow, literal transcription of its equations, on a tiny random U-Net in float64; and what each must
give back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.process import Steps
from qnerf.denoising.ddim import Trajectory
from qnerf.denoising.source import SourceBranch
from qnerf.editors.plain import PlainEditorSettings
from qnerf.inversions.ddim import DdimInversionSettings
from qnerf.inversions.ddpm import DdpmInversionSettings
from qnerf.inversions.direct import DirectInversionSettings
from qnerf.inversions.inversion import InversionSettings
from qnerf.inversions.negative_prompt import NegativePromptInversionSettings, ProximalSettings, slerp, thresholded
from qnerf.inversions.noise import NoiseInversionSettings
from qnerf.inversions.uniform_attention import UniformAttentionInversionSettings
from tests.schedules.helpers import in_precision, make_job

GENERATOR = torch.Generator().manual_seed(1)
CLEAN = torch.randn(2, 4, 8, 8, generator=GENERATOR, dtype=torch.float64)


def in_double() -> DiffusionBackbone:
    """A tiny U-Net all of whose passes are in float64: a backbone's own give float32."""
    backbone = in_precision(torch.float64)

    def predict(latents: Tensor, t: Any, conditioning: Conditioning) -> Tensor:
        return backbone.unet(latents, t, conditioning.text, return_dict=False)[0]

    backbone.predict = predict  # pyright: ignore[reportAttributeAccessIssue]
    return backbone


BACKBONE = in_double()
TEXT, NULL, TARGET = (BACKBONE.embed([prompt] * 2).double() for prompt in ("a figure", "", "a red floor"))


def branch(settings: InversionSettings, steps: Steps, text: Tensor = TEXT, views: slice = slice(0, 2)) -> SourceBranch:
    return SourceBranch(
        BACKBONE, steps, settings.build(), Conditioning.of(text[views]), NULL[views], first_view=views.start
    )  # fmt: skip


@torch.no_grad()
def eps(z: Tensor, t: int, text: Tensor, scale: float = 1.0) -> Tensor:
    found = BACKBONE.unet(z, t, text, return_dict=False)[0]
    if scale == 1:
        return found
    null = BACKBONE.unet(z, t, NULL[: len(z)], return_dict=False)[0]
    return null + scale * (found - null)


def alphas(count: int) -> tuple[list[int], list[float]]:
    """The times and ā of the states, noisiest first; the clean state's time is 0."""
    times = [*BACKBONE.process.timesteps(count), 0]
    return times, [float(BACKBONE.process.alphas_cumprod[t]) for t in times]


def moved(z: Tensor, noise: Tensor, a: float, b: float) -> Tensor:
    """The DDIM step from ā = a to ā = b."""
    return b**0.5 * (z - (1 - a) ** 0.5 * noise) / a**0.5 + (1 - b) ** 0.5 * noise


def pivot(count: int, text: Tensor = TEXT) -> list[Tensor]:
    times, a = alphas(count)
    states = [CLEAN]
    for k in reversed(range(count)):
        states.insert(0, moved(states[0], eps(states[0], times[k], text), a[k + 1], a[k]))
    return states


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("time", "fixed_point", "scale"), [("later", 0, 1.0), ("own", 0, 7.5), ("own", 2, 1.0)])
def test_ddim(time: Any, fixed_point: int, scale: float) -> None:
    times, a = alphas(3)
    z, wanted = CLEAN, [CLEAN]
    for k in (2, 1, 0):
        asked = times[k + 1] if time == "own" else times[k]
        reached = moved(z, eps(z, asked, TEXT, scale), a[k + 1], a[k])
        for _ in range(fixed_point):
            reached = moved(z, eps(reached, times[k], TEXT, scale), a[k + 1], a[k])
        z = reached
        wanted.insert(0, z)
    settings = DdimInversionSettings(name="ddim", time=time, fixed_point=fixed_point, guidance_scale=scale)
    close(branch(settings, BACKBONE.process.steps(3)).invert(CLEAN).states, torch.stack(wanted))
    assert settings.passes(3) == 3 * (1 + fixed_point) * (1 if scale == 1 else 2)


def test_ddim_comes_back_with_fixed_point_iterations() -> None:
    def error(count: int, **settings: Any) -> float:
        source = branch(DdimInversionSettings(name="ddim", **settings), BACKBONE.process.steps(count))
        return (source.reconstruct(source.invert(CLEAN)) - CLEAN).square().mean().item() ** 0.5

    assert error(3, fixed_point=6) < 0.1 * error(3)


def test_direct() -> None:
    """The authors' loop: source and target side by side, the source put back on the pivot after each step."""
    count, scale = 3, 7.5
    times, a = alphas(count)
    states = pivot(count)
    offsets = [states[k + 1] - moved(states[k], eps(states[k], times[k], TEXT, scale), a[k], a[k + 1]) for k in range(count)]
    source = branch(DirectInversionSettings(name="direct"), BACKBONE.process.steps(count))
    trajectory = source.invert(CLEAN)
    close(trajectory.states, torch.stack(states))
    assert trajectory.offsets is not None
    close(trajectory.offsets, torch.stack(offsets))
    z = source_row = states[0]
    for k in range(count):
        z = trajectory.source_step(z, eps(z, times[k], TEXT, scale), source.steps, k)
        source_row = moved(source_row, eps(source_row, times[k], TEXT, scale), a[k], a[k + 1]) + offsets[k]
        close(z, source_row)
        close(z, states[k + 1])
    close(source.reconstruct(trajectory), CLEAN)


def test_rounding_does_not_add_up_on_the_way_of_direct_inversion(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the embedded model, at γ = 7.5, what another batch rounds otherwise grew until images came back at 19 dB."""
    source = branch(DirectInversionSettings(name="direct"), BACKBONE.process.steps(6))
    trajectory = source.invert(CLEAN)
    exact, noise = SourceBranch.guided, 1e-3 * torch.ones_like(CLEAN)
    monkeypatch.setattr(SourceBranch, "guided", lambda self, *given: lambda z, k: exact(self, *given)(z, k) + noise)
    one_step = trajectory.step(CLEAN, noise, source.steps, 5) - trajectory.step(CLEAN, 0 * noise, source.steps, 5)
    close(source.reconstruct(trajectory) - CLEAN, one_step)


def test_an_edit_after_direct_inversion_is_one_after_ddim_since_the_source_is_read_along_its_trajectory() -> None:
    plain = make_job(steps=4)[0]
    offsets = torch.ones_like(plain.trajectory.states[1:])
    with_offsets = replace(plain, trajectory=Trajectory(plain.trajectory.states, offsets=offsets))
    z, views = plain.trajectory.states[1, :2], slice(0, 2)
    first, second = (job.branch(views).step(z, job.branch(views).noise(z, 1), 1) for job in (plain, with_offsets))
    assert torch.equal(first, second)


@pytest.mark.parametrize("last_residual", [True, False])
def test_ddpm(last_residual: bool) -> None:
    """x_{t-1} = μ(x_t) + √var z, by the authors' formulas; the states' noise is drawn, so it is taken from what was found."""
    count, scale = 4, 3.5
    times, a = alphas(count)
    settings = DdpmInversionSettings(name="ddpm", last_residual=last_residual)
    source = branch(settings, BACKBONE.process.steps(count))
    found = source.invert(CLEAN)
    assert found.residuals is not None
    xs = list(found.states)
    noises = torch.stack([(x - b**0.5 * CLEAN) / (1 - b) ** 0.5 for x, b in zip(xs[:-1], a[:-1], strict=True)]).flatten(1)
    assert (torch.corrcoef(noises) - torch.eye(count)).abs().max() < 0.15, "each state has noise of its own"
    assert noises.std().item() == pytest.approx(1, abs=0.05)

    def mean(x: Tensor, k: int, predicted: Tensor, var: float) -> Tensor:
        clean = (x - (1 - a[k]) ** 0.5 * predicted) / a[k] ** 0.5
        return a[k + 1] ** 0.5 * clean + (1 - a[k + 1] - var) ** 0.5 * predicted

    for k in range(count):
        var = (1 - a[k + 1]) / (1 - a[k]) * (1 - a[k] / a[k + 1])
        z = (xs[k + 1] - mean(xs[k], k, eps(xs[k], times[k], TEXT, scale), var)) / var**0.5
        z = torch.zeros_like(z) if k == count - 1 and not last_residual else z
        close(found.residuals[k], var**0.5 * z)
        edited = eps(xs[k], times[k], TARGET, 15.0)
        close(found.step(xs[k], edited, source.steps, k), mean(xs[k], k, edited, var) + var**0.5 * z)
    assert (source.reconstruct(found) - CLEAN).abs().max() < 1e-6 or not last_residual
    close(found.states[-1], CLEAN)


@pytest.mark.parametrize("scale", [1.0, 15.0])
def test_ddpm_gives_the_view_back_at_any_scale(scale: float) -> None:
    source = branch(DdpmInversionSettings(name="ddpm", guidance_scale=scale), BACKBONE.process.steps(3))
    close(source.reconstruct(source.invert(CLEAN)), CLEAN)


def test_negative_prompt_reconstructs_at_any_scale_as_ddim_does_without_guidance() -> None:
    steps = BACKBONE.process.steps(3)
    plain = branch(DdimInversionSettings(name="ddim"), steps)
    wanted = plain.reconstruct(plain.invert(CLEAN))
    source = branch(NegativePromptInversionSettings(name="negative_prompt"), steps)
    found = source.invert(CLEAN)
    close(found.states, torch.stack(pivot(3)))
    assert found.null_text is not None
    assert torch.equal(found.null_text, TEXT.expand(3, -1, -1, -1))
    close(source.reconstruct(found), wanted)


def test_slerp_by_hand() -> None:
    """A third of the way from the first axis (length 2) to the second (length 4): sin 60° of the one, sin 30° of the other."""
    a, b = torch.tensor([[[2.0, 0.0]]]), torch.tensor([[[0.0, 4.0]]])
    torch.testing.assert_close(slerp(a, b, 1 / 3), torch.tensor([[[3**0.5, 2.0]]]))
    assert torch.equal(slerp(a, a, 0.5), a)


def test_proximal_guidance_by_hand() -> None:
    difference = torch.tensor([-4.0, -1.0, 2.0, 3.0, 0.5]).view(1, 1, 1, 5)  # the 0.5 quantile of its magnitude is 2
    hard, soft = (
        thresholded(difference, ProximalSettings(threshold=kind, quantile=0.5)).flatten().tolist()
        for kind in ("hard", "soft")  # pyright: ignore[reportArgumentType]
    )
    assert hard == [-4, 0, 0, 3, 0]
    assert soft == [-2, 0, 0, 1, 0]


@pytest.mark.parametrize("k", [1, 2])
def test_a_step_of_an_edit_under_proximal_guidance(k: int) -> None:
    """Of 3 steps at times 667, 334 and 1: the last two are drawn to the view where the difference is 0."""
    settings = NegativePromptInversionSettings(name="negative_prompt", proximal=ProximalSettings(below_time=300, quantile=0.6))
    job = make_job(steps=3, editor=PlainEditorSettings(name="plain", guidance_scale=4.0, keep_background=False))[0]
    views = slice(0, 2)
    source = replace(job.source(views), inversion=settings.build())
    edit = replace(job, source=lambda some: source).branch(views)
    z = job.trajectory.states[k, views]
    found = edit.step(z, edit.noise(z, k), k)
    null, conditional = edit.predicted["null"], edit.predicted["conditional"]
    for view in range(2):
        difference = conditional[view] - null[view]
        kept = difference.abs() > difference.abs().quantile(0.6)
        noise = null[view] + 4 * difference * kept
        clean = (z[view] - job.steps.sigma[k] * noise) / job.steps.signal[k]
        if job.steps.timesteps[k] < 300:
            clean = torch.where(kept, clean, 0.9 * clean + 0.1 * job.trajectory.states[-1, view])
        close(found[view], job.steps.signal[k + 1] * clean + job.steps.sigma[k + 1] * noise)


def test_uniform_attention_starts_from_a_plain_inversion_and_reconstructs_by_its_auxiliary_branch() -> None:
    steps = BACKBONE.process.steps(3)
    settings = UniformAttentionInversionSettings(name="uniform_attention")
    source = branch(settings, steps)
    found = source.invert(CLEAN)
    close(found.states, torch.stack(pivot(3, NULL)))
    uniform = branch(UniformAttentionInversionSettings(name="uniform_attention", branches="all"), steps)
    every = uniform.invert(CLEAN)
    assert found.auxiliary is not None
    assert every.auxiliary is None
    assert torch.equal(found.auxiliary, every.states)
    assert torch.equal(source.reconstruct(found), uniform.reconstruct(every))
    other = branch(settings, steps, TARGET).invert(CLEAN)
    assert all(torch.equal(value, other.tensors()[name]) for name, value in found.tensors().items())
    assert settings.passes(3) == 6


def test_noise_goes_by_the_view_and_the_state() -> None:
    steps, settings = BACKBONE.process.steps(5), NoiseInversionSettings(name="noise")
    states = branch(settings, steps).invert(CLEAN).states
    assert torch.equal(states[-1], CLEAN)
    noises = torch.stack([(states[k] - steps.signal[k] * CLEAN) / steps.sigma[k] for k in range(5)]).flatten(2).flatten(0, 1)
    assert (torch.corrcoef(noises) - torch.eye(10)).abs().max() < 0.25, "independent"
    assert torch.equal(branch(settings, steps, views=slice(1, 2)).invert(CLEAN[1:]).states, states[:, 1:])
    assert settings.passes(5) == 0
