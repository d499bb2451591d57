"""Studies J24, J25, J28 and J29 on a random backbone: what an injection must leave alone, and what
no constant can win."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments import __main__ as commands
from experiments import studies
from experiments.injection import claims, maps, study
from experiments.injection.features import (
    Inject,
    blurred,
    distances,
    doubled,
    edits_at,
    forward_features,
    joined,
    moved,
    noise_features,
    reverse_features,
    seen_at,
    turned,
)
from experiments.injection.figures import FIGURES, figures_of
from experiments.injection.sampling import Way, denoise, noisy_step, pulled
from experiments.injection.study import Row
from qnerf.attention.hooks import CONDITIONAL
from qnerf.attention.layers import AttentionLayer
from qnerf.attention.maps import AttendAs
from qnerf.backbones.puppet import PuppetSettings
from qnerf.classifiers.classifiers import load_classifiers
from qnerf.denoising.ddim import ddim_step, invert
from qnerf.denoising.source import SourceBranch
from qnerf.evaluate_backbone.views import Views, heldout_views
from tests.schedules.helpers import BACKBONE

STEPS = BACKBONE.process.steps(5)
RING = maps.ring_of(0, 32)


def view_of(number: int = 0, size: int = 32) -> Views:
    return heldout_views(study.SEED, number, 1, size, study.WORLD, ("joints",))


def image_of(number: int = 0) -> study.Image:
    return study.Image(BACKBONE, view_of(number), number, len(STEPS))


@pytest.fixture(scope="module")
def image() -> study.Image:
    return image_of()


@pytest.fixture(scope="module")
def branch(image: study.Image) -> SourceBranch:
    return image.branch()


@pytest.mark.parametrize("way", ["direct", "mixed", "guidance"])
def test_own_features_change_nothing(way: Way, image: study.Image, branch: SourceBranch) -> None:
    """Features of the trajectory that is denoised, read while it is: the pass has them already."""
    z = image.start("moved", "original")
    tape = reverse_features(branch, z)
    assert len(tape[0]) == 2 * 8 + 1
    assert [bool(features) for features in tape] == [True, True, True, True, False], ".8 of the steps"
    assert len(tape[2]) == 1, "attention in half of them"
    plain, found = denoise(branch, z), denoise(branch, z, way, lambda k: tape[k])
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=0)
    other = reverse_features(branch, image.start("moved", "random"))
    away = denoise(branch, z, way, lambda k: other[k])
    assert (away - plain).abs().max() > 1e-3, "and others' do change it"


class Gentle(SourceBranch):
    """Predicts a share of the model's noise: a random model's own is no contraction, so that no
    fixed point is found."""

    def noise(self, *others: Any, **named: Any) -> Tensor:
        return 0.03 * super().noise(*others, **named)


def test_forward_features_of_an_exact_trajectory_reproduce_it(image: study.Image, branch: SourceBranch) -> None:
    """With fixed-point iterations the inversion's last pass to a state is the one by which
    denoising leaves it."""
    clean, gentle = BACKBONE.encode(image.view.images), Gentle(**vars(branch))
    with torch.no_grad():
        exact = invert(gentle.noise, clean, STEPS, fixed_point=30)
    torch.testing.assert_close(denoise(gentle, exact[0]), clean, atol=1e-6, rtol=0)

    def error(iterations: int) -> Tensor:
        tape = forward_features(gentle, clean, iterations)
        return (denoise(gentle, exact[0], "direct", lambda k: tape[k]) - clean).abs().max()

    assert error(30) < 1e-6
    assert error(0) > 1e-3, "the passes of a plain inversion are not those by which denoising comes back"


def test_the_noise_features_see_the_picture_under_noise_of_each_step(image: study.Image, branch: SourceBranch) -> None:
    clean = BACKBONE.encode(image.view.images)
    first, again, other = (noise_features(branch, clean, seed) for seed in (0, 0, 1))
    name = next(iter(first[0]))
    assert torch.equal(first[0][name], again[0][name])
    assert not torch.equal(first[0][name], other[0][name])


def test_direct_injection_is_plug_and_play(image: study.Image, branch: SourceBranch) -> None:
    """Replaced queries and keys are another pass's maps on the own values."""
    z, other = (image.start("moved", latent) for latent in ("original", "random"))
    _, given = seen_at(branch, other, 0)
    edits = edits_at(BACKBONE, Inject(given, 1.0), 0, len(STEPS))

    def heads(name: str, layer: AttentionLayer, count: int) -> Tensor:
        return given[name, layer.path].flatten(2).unflatten(1, (count, -1)).transpose(2, 3)

    layers = tuple(edits.attention)
    counts: dict[AttentionLayer, Any] = {layer: BACKBONE.unet.get_submodule(layer.path).heads for layer in layers}
    source = {layer: (heads("q", layer, counts[layer]), heads("k", layer, counts[layer])) for layer in layers}
    expected = replace(edits, attention=dict.fromkeys(layers, (AttendAs((CONDITIONAL,), source),)))
    torch.testing.assert_close(branch.noise(z, 0, edits=edits), branch.noise(z, 0, edits=expected), atol=1e-6, rtol=0)


def test_guidance_comes_nearer_to_the_features(image: study.Image, branch: SourceBranch) -> None:
    z = image.start("moved", "random")
    _, target = seen_at(branch, image.start("moved", "original"), 0)
    after = pulled(branch, z, 0, target, 0.01)
    before, behind = (distances(seen_at(branch, x, 0)[1], target) for x in (z, after))
    assert behind < before
    torch.testing.assert_close((after - z).norm() / z.norm(), torch.tensor(0.01 * STEPS.sigma[0]), rtol=1e-4, atol=0)
    assert pulled(branch, z, 4, {}, 0.01) is z
    both = joined([target, {name: x + 1 for name, x in target.items()}])
    assert distances({name: x.repeat(2, 1, 1, 1) for name, x in target.items()}, both)[0] == 0


def test_noise_of_eta_is_between_ddim_and_ddpm() -> None:
    generator = torch.Generator().manual_seed(0)
    z, noise, drawn = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(3))
    for k in range(len(STEPS)):
        plain = ddim_step(z, noise, STEPS, k, k + 1)
        assert torch.equal(noisy_step(z, noise, STEPS, k, 0.0, drawn), plain), "bit for bit"
        residual = STEPS.variance(k) ** 0.5 * drawn
        ddpm = ddim_step(z, noise, STEPS, k, k + 1, residual=residual)
        torch.testing.assert_close(noisy_step(z, noise, STEPS, k, 1.0, drawn), ddpm)
        # Song et al. 2021, eq. 12 and 16, literally
        a, b = STEPS.signal[k] ** 2, STEPS.signal[k + 1] ** 2
        sigma = 0.3 * ((1 - b) / (1 - a)) ** 0.5 * (1 - a / b) ** 0.5
        clean = (z - (1 - a) ** 0.5 * noise) / a**0.5
        wanted = b**0.5 * clean + (1 - b - sigma**2) ** 0.5 * noise + sigma * drawn
        torch.testing.assert_close(noisy_step(z, noise, STEPS, k, 0.3, drawn), wanted, atol=1e-4, rtol=1e-4)


def test_a_steps_noise_is_not_that_of_the_random_latents(image: study.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds that end in 0 are those without it."""
    seen: list[Tensor] = []

    def watched(branch: SourceBranch, z: Tensor, *others: Any) -> Tensor:
        seen.extend([z, *(others[3](k) for k in range(len(STEPS)))])
        return z

    monkeypatch.setattr(study, "denoise", watched)
    image.denoised([Row("moved", "random", eta=0.5)])
    assert len(seen) == 1 + len(STEPS)
    flat = torch.stack([x.flatten() for x in seen])
    assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 0.3


def test_transformations_are_exact_on_every_grid() -> None:
    x = torch.arange(64.0).view(1, 1, 8, 8)
    assert torch.equal(moved(1 / 4).smooth(x)[..., 2:], x[..., :-2])
    assert torch.equal(moved(1 / 4).cells(x).sort().values, x.roll(2, -1).sort().values)
    assert moved(1 / 4).seen(8, 8).sum() == 48
    with pytest.raises(ValueError, match=r"0\.25 of a grid of 2 columns is 0\.5"):
        moved(1 / 4).smooth(torch.zeros(1, 1, 2, 2))
    with pytest.raises(ValueError, match="the middle half of 2 x 2 places"):
        doubled().smooth(torch.zeros(1, 1, 2, 2))
    assert torch.equal(turned().upright(turned().smooth(x)), x)
    assert torch.equal(doubled().cells(x)[0, 0, :4, :4], torch.tensor([[18.0, 18, 19, 19]] * 2 + [[26.0, 26, 27, 27]] * 2))
    flat = torch.nn.functional.avg_pool2d(doubled().smooth(x), 2)
    torch.testing.assert_close(flat[..., 1:-1, 1:-1], x[..., 3:-3, 3:-3])
    noise = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    for transform in (moved(1 / 8), turned(), doubled()):
        assert transform.cells(noise).var() == pytest.approx(1, abs=0.05), "noise stays noise"
    torch.testing.assert_close(blurred(torch.full((2, 3, 8, 8), 0.5), 2.0), torch.full((2, 3, 8, 8), 0.5))
    point = torch.zeros(1, 1, 33, 33)
    point[..., 16, 16] = 1
    spread = (blurred(point, 2.0)[0, 0].sum(dim=0) * (torch.arange(33) - 16.0).square()).sum().sqrt()
    assert spread == pytest.approx(2.0, abs=0.06)


def test_no_constant_wins() -> None:
    """The truth has the best figures; a picture of one colour is at 0 dB at most, and one answer
    for all is seldom right."""
    classifiers, views = load_classifiers(), [view_of(number, 128) for number in range(8)]
    same = torch.cat([view.images for view in views]).mean(dim=0)
    for name, transform in study.TRANSFORMS.items():
        for view in views:
            truth = transform.smooth(view.images)[0]
            assert figures_of(truth, view, transform, classifiers)["object"] > 60
            for shade in (0.0, 0.3, 0.6, 1.0):
                found = figures_of(torch.full_like(truth, shade), view, transform, classifiers)
                assert found["object"] <= 1e-6
                assert found["silhouette"] < 0.6
        each = [figures_of(transform.smooth(view.images)[0], view, transform, classifiers) for view in views]
        one = [figures_of(transform.smooth(same[None])[0], view, transform, classifiers) for view in views]
        for figure in FIGURES:
            best, constant = (sum(found[figure] for found in some) / 8 for some in (each, one))
            assert best > constant + (0.15 if figure in ("labels", "silhouette") else 5), (name, figure)


def test_maps_are_carried_by_the_true_geometry() -> None:
    ring = maps.ring_of(0, 64)
    target, others = ring.views.images[maps.MIDDLE], [0, 2]
    there = maps.carried(ring.views.images, ring, maps.MIDDLE, others)
    inside = ring.views.silhouettes[maps.MIDDLE]
    carried, in_place = ((x - target).square().mean(dim=0)[inside].mean() for x in (there, ring.views.images[others].mean(dim=0)))
    assert carried < 0.6 * in_place
    own = maps.carried(ring.views.images, ring, maps.MIDDLE, [maps.MIDDLE])
    torch.testing.assert_close(own, target, atol=1e-4, rtol=0)


def test_own_maps_change_nothing_and_made_ones_are_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = maps.Scene(BACKBONE, RING, 0, len(STEPS))
    noisiest = scene.branch(maps.VIEWS).invert(BACKBONE.encode(scene.ring.views.images)).states[0][[maps.MIDDLE]]
    monkeypatch.setattr(maps, "drawn", lambda *others: noisiest)
    plain, own = scene.denoised([maps.NONE]), scene.denoised([maps.OWN])
    torch.testing.assert_close(own, plain, atol=1e-4, rtol=0)
    for row in maps.ROWS[1:]:
        for layer, p in scene.maps(row, 0).items():
            assert p.shape == scene.by_step[0][layer].shape, row
            torch.testing.assert_close(p.sum(dim=-1), torch.ones(p.shape[:-1]), atol=1e-4, rtol=0)


def test_the_studies_run_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a small size and a few steps; what is measured is not measured again; every claim's rows
    are measured."""
    monkeypatch.setattr(PuppetSettings, "build", lambda settings, device: BACKBONE)
    monkeypatch.setattr(study, "heldout_views", lambda seed, number, *others: view_of(number))
    monkeypatch.setattr(study, "Image", partial(study.Image, steps=2))
    monkeypatch.setattr(
        study, "TRANSFORMS", {"moved": moved(1 / 2), "turned": turned(), "doubled": turned()}
    )  # 2 x 2 has no middle
    monkeypatch.setattr(maps, "Scene", partial(maps.Scene, steps=2))
    monkeypatch.setattr(maps, "ring_of", lambda number, size: RING)
    for name in claims.STUDIES:
        assert commands.main(["run", name, "--images", "1", "--output", str(tmp_path)]) == 0
        told = (tmp_path / "injection" / f"{name}.md").read_text()
        assert "so far" in told
        assert "not measured" not in told
    results = (tmp_path / "injection" / study.RESULTS).read_text()
    assert len(results.splitlines()) == 1 + len(study.ROWS)
    monkeypatch.setattr(study, "Image", None)
    monkeypatch.setattr(maps, "Scene", None)
    for name in claims.STUDIES:
        assert commands.main(["run", name, "--images", "1", "--output", str(tmp_path)]) == 0
    assert (tmp_path / "injection" / study.RESULTS).read_text() == results


def test_every_claim_is_of_rows_that_its_study_measures() -> None:
    for name, (_, script, rows, some) in claims.STUDIES.items():
        assert set(rows) <= set(script.ROWS)
        for each in some:
            claim = studies.Claim(*each)
            assert {claim.better, claim.worse} <= set(rows), (name, claim.says)
            assert claim.figure in FIGURES
