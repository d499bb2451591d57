import math

import pytest
import torch
from torch import Tensor

from qnerf.fields.heads import deferred_heads, heads_per_sample
from qnerf.fields.proposal import DensityGrid
from qnerf.fields.rendering import Samples, composite, composite_weights, expected_depth, occupied_share, sample_rays
from qnerf.fields.sampling import importance_edges, invert_cdf, ray_line, stratified
from qnerf.fields.settings import SamplingSettings
from qnerf.fields.space import Space, contract, contract_line, uncontract_line
from qnerf.scenes.cameras import Rays

SPACE = Space(torch.zeros(3), 1.0)


def test_contraction_by_hand() -> None:
    points = torch.tensor([[0.5, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, -1e9]])
    expected = torch.tensor([[0.5, 0.0, 0.0], [0.0, 1.75, 0.0], [0.0, 0.0, -2.0]])
    torch.testing.assert_close(contract(points), expected)
    torch.testing.assert_close(Space(torch.ones(3), 2.0).to_cube(torch.tensor([[3.0, 1.0, 1.0]])), torch.tensor([[0.75, 0.5, 0.5]]))


def test_line_contraction_inverts() -> None:
    x = torch.tensor([-50.0, -1.5, -0.3, 0.0, 0.9, 1.0, 7.0])
    torch.testing.assert_close(uncontract_line(contract_line(x)), x, rtol=1e-5, atol=1e-5)


def test_ray_line_spends_the_ball_evenly_and_ends_where_told() -> None:
    rays = Rays(torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[0.0, 0.0, -1.0]]))
    settings = SamplingSettings()
    line = ray_line(rays, SPACE, settings)
    ends = line.distance(torch.tensor([[0.0, 1.0]]))[0]
    assert 0 < ends[0] < 3
    assert ends[1].item() == pytest.approx(4 + settings.far_radii, rel=1e-4)
    inside = line.distance(torch.linspace(0, 1, 101)[None])[0]
    inside = inside[(inside > 3) & (inside < 5)]
    gaps = inside[1:] - inside[:-1]
    torch.testing.assert_close(gaps, gaps.mean().expand_as(gaps), rtol=1e-3, atol=1e-4)


def test_stratified_samples_stay_in_their_strata() -> None:
    drawn = stratified(50, 8, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert torch.equal((drawn * 8).floor(), torch.arange(8.0).expand(50, 8))
    assert stratified(1, 2, None, torch.device("cpu")).tolist() == [[0.25, 0.75]]


def test_inverse_cdf_against_a_search() -> None:
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(4, 6, generator=generator)
    quantiles = torch.rand(4, 9, generator=generator)
    found = invert_cdf(weights, quantiles)
    fine = (torch.arange(60000) + 0.5) / 60000
    for row in range(4):
        mass = weights[row][(fine * 6).long()]
        cdf = torch.cumsum(mass, 0) / mass.sum()
        expected = fine[torch.searchsorted(cdf, quantiles[row]).clamp_max(59999)]
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-3)


def test_importance_edges_crowd_where_the_weight_is() -> None:
    weights = torch.zeros(1, 10)
    weights[0, 4] = 1.0
    edges = importance_edges(weights, 20, 0.2, None)[0]
    assert (edges[1:] >= edges[:-1]).all()
    assert edges[0] == 0
    assert edges[-1] == 1
    assert ((edges > 0.4) & (edges < 0.5)).sum() >= 15
    even = importance_edges(torch.zeros(1, 10), 4, 0.2, None)[0]
    torch.testing.assert_close(even, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))


def test_weights_of_the_rendering_equation_by_loop() -> None:
    generator = torch.Generator().manual_seed(2)
    edges = torch.rand(3, 6, generator=generator).cumsum(-1)
    density = torch.rand(3, 5, generator=generator) * 3
    samples = Samples(edges[:, :-1], edges[:, 1:], torch.zeros(3, 5, 3), radius=2.0)
    weights = composite_weights(density, samples)
    values = torch.rand(3, 5, 2, generator=generator)
    for ray in range(3):
        transmittance, total, depth = 1.0, torch.zeros(2), 0.0
        for i in range(5):
            delta = (edges[ray, i + 1] - edges[ray, i]).item() / 2.0
            weight = transmittance * (1 - math.exp(-density[ray, i].item() * delta))
            assert weights[ray, i].item() == pytest.approx(weight, abs=1e-6)
            transmittance *= math.exp(-density[ray, i].item() * delta)
            total += weight * values[ray, i]
            depth += weight * (edges[ray, i + 1] + edges[ray, i]).item() / 2
        torch.testing.assert_close(composite(weights, values)[ray], total)
        assert expected_depth(weights, samples)[ray].item() == pytest.approx(depth / (1 - transmittance), rel=1e-5)


def test_rendering_is_nerfaccs_bit_by_bit_with_gradients() -> None:
    nerfacc = pytest.importorskip("nerfacc")
    generator = torch.Generator().manual_seed(5)
    edges = torch.rand(257, 49, generator=generator).cumsum(-1)
    density = torch.randn(257, 48, generator=generator).exp() * (torch.rand(257, 48, generator=generator) > 0.3)
    values, pull = torch.rand(257, 48, 7, generator=generator), torch.randn(257, 7, generator=generator)
    samples = Samples(edges[:, :-1], edges[:, 1:], torch.zeros(257, 48, 3), radius=1.7)

    def ours(density: Tensor, values: Tensor) -> Tensor:
        return composite(composite_weights(density, samples), values)

    def theirs(density: Tensor, values: Tensor) -> Tensor:
        weights, _, _ = nerfacc.render_weight_from_density(samples.starts / 1.7, samples.ends / 1.7, density)
        return nerfacc.accumulate_along_rays(weights, values)

    results = []
    for render in (ours, theirs):
        inputs = [density.clone().requires_grad_(), values.clone().requires_grad_()]
        colours = render(*inputs)
        results.append([colours.detach(), *torch.autograd.grad((colours * pull).sum(), inputs)])
    for own, reference in zip(*results, strict=True):
        assert torch.equal(own, reference)


def test_deferred_heads_equal_heads_per_sample_with_gradients() -> None:
    generator = torch.Generator().manual_seed(3)
    weights = torch.rand(7, 5, generator=generator) / 5
    shapes = [(7, 5, 16), (16,), (30, 16), (30,)]
    results = []
    for heads in (heads_per_sample, deferred_heads):
        generator.manual_seed(4)
        hidden, background, weight, bias = (torch.randn(shape, generator=generator).requires_grad_() for shape in shapes)
        found = heads(hidden, weights, background, weight, bias)
        found.square().sum().backward()
        results.append([found.detach(), hidden.grad, background.grad, weight.grad, bias.grad])
    for reference, found in zip(*results, strict=True):
        torch.testing.assert_close(found, reference, rtol=1e-5, atol=1e-4)


def test_samples_gather_round_the_dense_shell_of_the_proposal() -> None:
    grid = DensityGrid(16)
    grid.refresh(lambda x: ((x - 0.5).norm(dim=-1) < 0.1).float() * 500, torch.Generator().manual_seed(0), keep=0.9)
    rays = Rays(torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[0.0, 0.0, -1.0]]))
    samples = sample_rays(rays, SPACE, grid, SamplingSettings(), 32, None)
    middle = (samples.starts + samples.ends) / 2
    assert ((middle > 3.3) & (middle < 4.7)).float().mean() > 0.5
    again = sample_rays(rays, SPACE, grid, SamplingSettings(), 32, None)
    assert torch.equal(samples.positions, again.positions)


def test_occupancy_by_hand() -> None:
    """Intervals of half a radius: 1 - exp(-σ / 2) is above .01 from σ = .0201 on. A ray through nothing has no share at all."""
    starts = torch.tensor([[0.0, 1.0, 2.0, 3.0]]).expand(2, 4)
    samples = Samples(starts, starts + 1, torch.zeros(2, 4, 3), 2.0)
    density = torch.tensor([[0.0200, 0.0202, 500.0, 0.0], [0.01, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(occupied_share(density, samples), torch.tensor([[0.0, 0.5, 0.5, 0.0], [0.0] * 4]))


def test_occupancy_knows_not_what_hides_what() -> None:
    """A dense shell hides its inside from samples by weight, and not from samples by occupancy."""
    grid = DensityGrid(32)
    grid.refresh(lambda x: ((x - 0.5).norm(dim=-1) < 0.2).float() * 500, torch.Generator().manual_seed(0), keep=0.9)
    rays = Rays(torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[0.0, 0.0, -1.0]]))
    inside = []
    for proposal in ("weights", "occupancy"):
        settings = SamplingSettings.model_validate({"proposal": proposal, "uniform_share": 0.1})
        samples = sample_rays(rays, SPACE, grid, settings, 64, None)
        middle = (samples.starts + samples.ends) / 2
        inside.append(((middle > 3.6) & (middle < 4.6)).sum().item())  # behind the shell's front, at 3.2
    assert inside[1] > 20 > 8 > inside[0]
