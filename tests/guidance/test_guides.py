"""Guidance: the gradient against finite differences, the size of the step, and what hard and mixed put in the place of queries."""

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from qnerf.attention.edits import RecordQueries
from qnerf.attention.hooks import CONDITIONAL, SOURCE_CONTROL, Edits
from qnerf.attention.layers import AttentionLayer
from qnerf.consolidation.job import EditJob
from qnerf.consolidation.targets import TargetQueries, guided_region, region_tokens
from qnerf.denoising.edit import EditBranch
from qnerf.denoising.energy import energy_gradient
from qnerf.editors.masactrl import MasaCtrlSettings
from qnerf.guidance.guidance import Guidance
from qnerf.guidance.hard import Hard, HardSettings
from qnerf.guidance.mixed import Mixed, MixedSettings
from qnerf.guidance.off import OffSettings
from qnerf.guidance.soft import Soft, SoftSettings
from qnerf.scenes.region import EditedRegion
from tests.schedules.helpers import layers, make_job

K = 3


@pytest.fixture(scope="module")
def job() -> EditJob:
    return make_job()[0]


def random_target(job: EditJob, chosen: tuple[AttentionLayer, ...], views: int) -> TargetQueries:
    recorder = RecordQueries()
    branch = job.branch(slice(0, views))
    z = torch.randn(views, 4, *job.backbone.latent_size, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        branch.conditional_noise(z, K, Edits.at(chosen, recorder))
    scale = {layer: float(q.std()) for layer, q in recorder.queries.items()}
    return TargetQueries(recorder.queries, scale, dict.fromkeys(chosen, 0.5), halves(recorder.queries))


def halves(queries: dict[AttentionLayer, torch.Tensor]) -> dict[AttentionLayer, torch.Tensor]:
    return {layer: torch.eye(q.shape[-1]) / 2 for layer, q in queries.items()}


def test_gradient_against_finite_differences(job: EditJob) -> None:
    chosen = layers(7, 11, 15)
    target, branch = random_target(job, chosen, 2), job.branch(slice(0, 2))
    settings = SoftSettings(name="soft", weights="component")
    z = job.trajectory.states[K, :2]
    gradient = gradient_of(settings, branch, z, target)

    def loss(at: torch.Tensor) -> float:
        energy = Soft(SoftSettings(name="soft")).energy(target, torch.ones(len(at), 1, 8, 8))
        with torch.no_grad():
            branch.conditional_noise(at, K, energy.edits())
            return energy.value().sum().item()

    direction = torch.randn(z.shape, generator=torch.Generator().manual_seed(8))
    step = 2e-3
    slope = (loss(z + step * direction) - loss(z - step * direction)) / (2 * step)
    assert slope == pytest.approx((gradient * direction).sum().item(), rel=2e-2)


@pytest.mark.parametrize(
    "guidance",
    [
        Mixed(MixedSettings(name="mixed", strength=0.5)),
        Hard(HardSettings(name="hard")),
        Soft(SoftSettings(name="soft", inner_steps=2)),
    ],
    ids=["mixed", "hard", "soft"],
)
def test_the_disagreement_of_a_step_is_that_of_its_own_queries_and_changes_nothing(job: EditJob, guidance: Guidance) -> None:
    chosen, told, own = layers(7), [], RecordQueries()  # of one layer: what it changes is seen by later ones
    target, z = random_target(job, chosen, 2), job.trajectory.states[K, :2]
    branch = job.branch(slice(0, 2))
    watched = replace(branch, on_disagreement=lambda value, k: told.append((value, k)))
    steps = [guidance.step(each, guidance.pull(each, z, K, target), K, target) for each in (branch, watched)]
    assert torch.equal(*steps)
    with torch.no_grad():
        branch.conditional_noise(z, K, Edits.at(chosen, own))
    [(layer, queries)] = own.queries.items()
    inside = region_tokens(branch.region.object[:, None], layer)[..., 0] > 0
    mine, theirs = queries[inside].double(), target.maps[layer][inside].double()
    share = (mine - theirs).square().sum() / (mine - mine.mean(dim=0)).square().sum()
    assert told == [(pytest.approx(share.item(), rel=1e-5), K)]


def gradient_of(settings: SoftSettings, branch: EditBranch, z: Tensor, target: TargetQueries) -> Tensor:
    energy = Soft(settings).energy(target, guided_region(branch, settings.region))
    return energy_gradient(branch, z, K, energy, settings.checkpointing)


def kept_for_the_gradient(settings: SoftSettings, branch: EditBranch, z: torch.Tensor, target: TargetQueries) -> int:
    """Bytes of the tensors that autograd keeps from the forward to the backward pass, each storage once."""
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        gradient_of(settings, branch, z, target)
    return sum(storage.nbytes() for storage in kept.values())


def test_checkpointing_gives_the_same_gradient_from_less_memory() -> None:
    """With MasaCtrl on, whose injection the blocks must see when they run again."""
    job = make_job(editor=MasaCtrlSettings(name="masactrl", start=0.0, start_layer=8))[0]
    target, branch = random_target(job, layers(7, 11, 15), 2), job.branch(slice(0, 2))
    z, plain = job.trajectory.states[K, :2], SoftSettings(name="soft", weights="component")
    again = plain.model_copy(update={"checkpointing": True})
    expected = gradient_of(plain, branch, z, target)
    assert expected.abs().max() > 0
    assert torch.equal(gradient_of(again, branch, z, target), expected)
    assert kept_for_the_gradient(again, branch, z, target) < 0.5 * kept_for_the_gradient(plain, branch, z, target)
    assert not any(getattr(module, "gradient_checkpointing", False) for module in job.backbone.unet.modules())


def test_loss_by_hand() -> None:
    layer = AttentionLayer(0, "x", 1)
    q = torch.tensor([[[3.0, 0.0]], [[0.0, 0.0]]])
    target = TargetQueries(
        {layer: torch.tensor([[[0.0, 4.0]], [[0.0, 2.0]]])},
        {layer: 2.0},
        {layer: 0.5},
        {layer: torch.diag(torch.tensor([1.0, 0.0]))},
    )
    # view 0: |(3, -4)| = 5, view 1: 2; over the deviation 2; by layer a half of it; the second component is not trusted
    everywhere, first = torch.ones(2, 1, 1, 1), torch.tensor([1.0, 0.0])[:, None, None, None]
    cases: list[tuple[Any, Tensor, list[float]]] = [
        ("equal", everywhere, [2.5, 1.0]),
        ("layer", everywhere, [1.25, 0.5]),
        ("component", everywhere, [1.5, 0.0]),
        ("equal", first, [2.5, 0.0]),
    ]
    for weights, region, expected in cases:
        energy = Soft(SoftSettings(name="soft", weights=weights)).energy(target, region)
        energy.seen.queries[layer] = q
        assert energy.value().tolist() == pytest.approx(expected, abs=1e-5)
    paper = Soft(SoftSettings(name="soft", weights="equal", units="queries")).energy(target, everywhere)
    paper.seen.queries[layer] = q
    assert paper.value().tolist() == pytest.approx([5.0, 2.0], abs=1e-5), "the paper's formula knows no deviation"


@pytest.mark.parametrize("where", ["object", "moved"])
def test_guidance_of_a_region_leaves_the_rest_of_the_latents_alone(where: Literal["object", "moved"]) -> None:
    large, small = torch.zeros(4, 8, 8), torch.zeros(4, 8, 8)
    large[:, 2:6, 3:5] = small[:, 2:4, 4:5] = 1
    job, region = make_job(region=EditedRegion(large, small))[0], {"object": large, "moved": small}[where]
    target, branch, z = random_target(job, layers(10, 13), 4), job.branch(slice(0, 4)), job.trajectory.states[K]
    settings = SoftSettings(name="soft", step_size=0.02, decay="constant", region=where)
    moved = Soft(settings).pulled(branch, z, K, target)
    inside = region[:, None].bool().expand_as(z)
    assert torch.equal(moved[~inside], z[~inside])
    share = (moved - z)[inside].view(4, -1).norm(dim=1) / z[inside].view(4, -1).norm(dim=1)
    torch.testing.assert_close(share, torch.full((4,), 0.02), rtol=1e-4, atol=0)
    everywhere = Soft(settings.model_copy(update={"region": "all"})).pulled(branch, z, K, target)
    assert not torch.equal(everywhere[~inside], z[~inside])


@pytest.mark.parametrize("where", ["object", "moved", "all"])
@pytest.mark.parametrize("weights", ["equal", "component"])
@pytest.mark.parametrize("predictions", ["conditional", "all"])
def test_mixed_queries_are_the_models_own_outside_the_region_and_the_prediction(where: Any, weights: Any, predictions: Any) -> None:
    large, small = torch.zeros(4, 8, 8), torch.zeros(4, 8, 8)
    large[:, 2:6, 3:5] = small[:, 2:4, 4:5] = 1
    pushed_away = MasaCtrlSettings(name="masactrl", control_guidance=2.0)
    job = make_job(region=EditedRegion(large, small), editor=pushed_away)[0]
    (layer,) = chosen = layers(13)
    assert layer.token_grid(job.backbone.latent_size) == (8, 8)
    target, branch, z = random_target(job, chosen, 4), job.branch(slice(0, 4)), job.trajectory.states[K]
    settings = MixedSettings(name="mixed", strength=0.4, weights=weights, region=where, predictions=predictions)
    found: dict[str, dict[str, Tensor]] = {}
    noise = branch.noise

    def watched(at: Tensor, k: int, edits: Edits) -> Tensor:
        """The step's own pass, with recorders of both predictions before and behind the injection."""
        watching = {(when, rows): RecordQueries(rows) for when in ("own", "used") for rows in (CONDITIONAL, SOURCE_CONTROL)}
        before, behind = (Edits.at(chosen, *(w for (at_, _), w in watching.items() if at_ == when)) for when in ("own", "used"))
        result = noise(at, k, before | edits | behind)
        for (when, rows), record in watching.items():
            found.setdefault(rows, {})[when] = record.queries[layer]
        return result

    object.__setattr__(branch, "noise", watched)
    Mixed(settings).guided_step(branch, z, K, target)
    if predictions == "conditional":
        other = found.pop(SOURCE_CONTROL)
        assert torch.equal(other["used"], other["own"])
    inside = {"object": large, "moved": small, "all": torch.ones(4, 8, 8)}[where].flatten(1).bool()
    share = 0.2 if weights == "component" else 0.4  # the field explains a half of every component
    for queries in found.values():
        own, used = queries["own"], queries["used"]
        torch.testing.assert_close(used[inside], torch.lerp(own, target.maps[layer], share)[inside])
        assert torch.equal(used[~inside], own[~inside])


def test_relative_step_has_the_stated_size_and_lowers_the_loss(job: EditJob) -> None:
    chosen = layers(10, 13)
    target, branch, z = random_target(job, chosen, 4), job.branch(slice(0, 4)), job.trajectory.states[K]
    settings = SoftSettings(name="soft", step_size=0.02, decay="sigma")
    moved = Soft(settings).pulled(branch, z, K, target)
    share = (moved - z).square().mean(dim=(1, 2, 3)).sqrt() / z.square().mean(dim=(1, 2, 3)).sqrt()
    torch.testing.assert_close(share, torch.full((4,), 0.02 * job.steps.sigma[K]), rtol=1e-4, atol=0)

    def loss(at: torch.Tensor) -> float:
        energy = Soft(SoftSettings(name="soft")).energy(target, torch.ones(len(at), 1, 8, 8))
        with torch.no_grad():
            branch.conditional_noise(at, K, energy.edits())
            return energy.value().sum().item()

    assert loss(moved) < loss(z)


def test_inner_steps_are_single_steps_of_a_share_of_alpha(job: EditJob) -> None:
    target, branch, z = random_target(job, layers(10, 13), 2), job.branch(slice(0, 2)), job.trajectory.states[K, :2]
    found = Soft(SoftSettings(name="soft", step_size=0.06, inner_steps=3)).pulled(branch, z, K, target)
    for _ in range(3):
        z = Soft(SoftSettings(name="soft", step_size=0.02)).pulled(branch, z, K, target)
    torch.testing.assert_close(found, z)


def test_raw_step_is_alpha_times_the_gradient(job: EditJob) -> None:
    target, branch, z = random_target(job, layers(12), 2), job.branch(slice(0, 2)), job.trajectory.states[K, :2]
    settings = SoftSettings(name="soft", step_size=0.5, step="raw", decay="constant")
    expected = z - 0.5 * gradient_of(settings, branch, z, target)
    torch.testing.assert_close(Soft(settings).pulled(branch, z, K, target), expected)


def test_a_layer_that_the_field_does_not_explain_does_not_pull(job: EditJob) -> None:
    chosen = layers(12)
    found = random_target(job, chosen, 2)
    target = TargetQueries(found.maps, found.scale, dict.fromkeys(chosen, -0.3), found.components)
    settings = SoftSettings(name="soft", weights="layer")
    gradient = gradient_of(settings, job.branch(slice(0, 2)), job.trajectory.states[K, :2], target)
    assert gradient.abs().max() == 0


def test_hard_puts_the_rendered_queries_in_and_mixed_half_of_them(job: EditJob) -> None:
    chosen = layers(10)
    target, branch, z = random_target(job, chosen, 2), job.branch(slice(0, 2)), job.trajectory.states[K, :2]
    plain = Guidance(OffSettings(name="off")).step(branch, z, K, target)
    hard = Hard(HardSettings(name="hard")).step(branch, z, K, target)
    mixed = Mixed(MixedSettings(name="mixed", strength=0.5)).step(branch, z, K, target)
    assert 0 < (mixed - plain).abs().max() < (hard - plain).abs().max()
    # the model's own queries, injected, change nothing
    recorder = RecordQueries()
    with torch.no_grad():
        branch.conditional_noise(z, K, Edits.at(chosen, recorder))
    own = TargetQueries(recorder.queries, target.scale, target.r2, target.components)
    torch.testing.assert_close(Hard(HardSettings(name="hard")).step(branch, z, K, own), plain, rtol=0, atol=1e-5)


def test_until_ends_the_guidance(job: EditJob) -> None:
    target, branch, z = random_target(job, layers(10), 2), job.branch(slice(0, 2)), job.trajectory.states[K, :2]
    plain = Guidance(OffSettings(name="off")).step(branch, z, K, target)

    def guided(until: float) -> Tensor:
        soft = Soft(SoftSettings(name="soft", until=until))
        return soft.step(branch, soft.pull(branch, z, K, target), K, target)

    ended, goes_on = guided(0.5), guided(0.6)
    assert torch.equal(ended, plain)
    assert not torch.equal(goes_on, plain)
