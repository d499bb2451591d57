"""Air that a field has filled with the background's colour is told from matter by the pictures."""

import torch
from torch import Tensor

from qnerf.fields.posing.carving import Room, source_views
from tests.fields.posing.analytic import OPAQUE, SolidField, Tube, cameras, render


class FilledAir(SolidField):
    """A field whose air has a ball of the background's grey, which no picture can tell from nothing."""

    def radiance(self, points: Tensor) -> tuple[Tensor, Tensor]:
        density, colour = super().radiance(points)
        ball = (points - torch.tensor([0.5, 0.0, 0.3])).norm(dim=-1) < 0.15
        return torch.where(ball, OPAQUE, density), torch.where(ball[:, None], 0.5, colour)


def test_filled_air_is_no_matter() -> None:
    tube = Tube(torch.tensor([0.0, 0.0, -0.5]), torch.tensor([0.0, 0.0, 0.5]), 0.1)
    views = cameras(6)
    images = render(SolidField([tube]), views, 128)
    field = FilledAir([tube])
    room = Room(torch.full((3,), -0.8), torch.full((3,), 0.8), None, 0.0)
    found = source_views(field, views, images, room, 96)
    assert (found.background - 0.5).abs().max() < 1e-3
    share = found.object_share(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.3], [0.5, 0.0, 0.3], [0.0, 0.0, 9.0]]))
    assert (share[:2] == 1).all()
    assert share[2] < 0.5
    assert share[3] == 1  # far outside of every picture: nothing is known of it
