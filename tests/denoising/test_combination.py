"""Guidance scales and the kept background, worked by hand."""

from __future__ import annotations

import torch

from qnerf.denoising.combination import keep_background, pushed_from
from qnerf.scenes.region import EditedRegion


def test_the_source_stays_outside_the_object_wherever_parts_move() -> None:
    """The object's region and that of what moves differ, and neither is the other's complement."""
    whole, moved = torch.zeros(1, 3, 3), torch.zeros(1, 3, 3)
    whole[0, 0], moved[0, 0, 0] = 1, 1
    z, source = torch.ones(1, 4, 3, 3), torch.zeros(1, 4, 3, 3)
    found = keep_background(z, source, EditedRegion(whole, moved))
    assert torch.equal(found, whole[:, None].expand(1, 4, 3, 3))


def test_a_released_shadow_is_edited_too_and_guides_nothing() -> None:
    whole, moved, shadow = torch.zeros(3, 1, 3, 3)
    whole[0, 0], moved[0, 0, 0], shadow[0, 1:, 2] = 1, 1, 1
    region = EditedRegion(whole, moved, shadow)
    z, source = torch.ones(1, 4, 3, 3), torch.zeros(1, 4, 3, 3)
    assert torch.equal(keep_background(z, source, region), (whole + shadow)[:, None].expand(1, 4, 3, 3))
    assert torch.equal(keep_background(z, source, region.views(slice(0, 1))), keep_background(z, source, region))
    assert torch.equal(region.to(torch.device("cpu")).object, whole)


def test_pushed_away_by_hand() -> None:
    noise, conditional, other = (torch.tensor(x) for x in (1.0, 3.0, 2.5))
    assert pushed_from(noise, conditional, other, 3.0).item() == 2.0
