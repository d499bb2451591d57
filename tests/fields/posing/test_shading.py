"""Light that stays where it is while a part turns, on solids whose brightness is exactly the fitted law's."""

import torch
from torch import Tensor

from qnerf.fields.posing.carving import source_views
from qnerf.fields.posing.flesh import flesh_grid
from qnerf.fields.posing.posed_field import object_room
from qnerf.fields.posing.posed_views import pose_views
from qnerf.fields.posing.settings import PosingSettings
from qnerf.fields.posing.shading import fit_shading
from tests.fields.posing.analytic import SolidField, Tube, cameras, psnr, render, skeleton

LIGHT = torch.tensor([0.6, -0.4, 0.5])
SOURCE = [[0.0, 0.0, -0.5], [0.0, 0.0, 0.3], [0.3, 0.0, 0.2], [0.3, 0.0, -0.3]]
TARGET = [*SOURCE[:3], [0.6, 0.3, 0.46]]
BONES = ((0, 1), (2, 3))


class Lit(SolidField):
    """log colour = log paint + light · normal."""

    def radiance(self, points: Tensor) -> tuple[Tensor, Tensor]:
        def distance(x: Tensor) -> Tensor:
            return torch.stack([solid.distance(x) for solid in self.solids]).amin(0)

        density, colour = super().radiance(points)
        normal = torch.stack([distance(points + step) - distance(points - step) for step in 1e-3 * torch.eye(3)], dim=-1) / 2e-3
        return density, 0.45 * colour * (normal @ LIGHT).exp()[:, None]


def tubes(joints: list[list[float]]) -> list[Tube]:
    return [Tube(torch.tensor(joints[a]), torch.tensor(joints[b]), 0.1, index) for index, (a, b) in enumerate(BONES)]


def test_the_light_is_found_on_the_sources_surface_and_none_where_there_is_none() -> None:
    views, proxy = cameras(), skeleton(SOURCE, TARGET, BONES)
    found = []
    for field in (Lit(tubes(SOURCE)), SolidField(tubes(SOURCE))):
        room = object_room(field, proxy, torch.device("cpu"))
        flesh = flesh_grid(field, room.low, room.high, 48, 1.0)
        seen = source_views(field, views, render(field, views, 96), room, 48)
        found.append(fit_shading(field, flesh, flesh.opacity, seen, 0.05))
    lit, plain = found
    assert plain is None
    assert lit is not None
    assert torch.cosine_similarity(lit.weights, LIGHT, dim=0) > 0.97
    torch.testing.assert_close(lit.weights, LIGHT, atol=0.2, rtol=0)  # of upright tubes, few cells face up
    place, quarter = torch.tensor([[0.4, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(lit.change(place, torch.eye(3)), torch.ones(1, 1))
    wanted = (lit.weights @ torch.tensor([-1.0, 1.0, 0.0])).exp()  # a normal along x becomes one along y
    torch.testing.assert_close(lit.change(place, quarter)[0, 0], wanted, atol=0.1, rtol=0)


def test_a_part_that_turns_is_lit_as_the_truth_is() -> None:
    before, after, views = Lit(tubes(SOURCE)), Lit(tubes(TARGET)), cameras()
    source, truth = render(before, views, 192), render(after, views, 192)
    changed = (truth - source).abs().amax(1) > 0.05
    figures = []
    for relight in (False, True):
        settings = PosingSettings(voxels=48, samples=96, relight=relight)
        found = pose_views(before, skeleton(SOURCE, TARGET, BONES), views, source, settings)
        figures.append(psnr(found.images, truth, changed & (found.moved > 0.9)))
    assert figures[1] > figures[0] + 4
