import torch

from qnerf.consolidation.consolidate import IntervalRecord
from qnerf.reports.queries import depth_shades, interval_picture, principal_colours


def test_equal_queries_have_equal_colours_and_the_largest_direction_is_red() -> None:
    maps = torch.zeros(2, 4, 4, 8)
    maps[..., 5] = torch.linspace(-1, 1, 16).reshape(4, 4)
    maps[..., 2] = 0.1 * torch.linspace(-1, 1, 16).reshape(4, 4).T
    first, second = principal_colours(maps, maps.clone())
    assert torch.equal(first, second)
    assert first.shape == (2, 3, 4, 4)
    red = first[0, 0]
    assert (red.flatten().diff() >= -1e-6).all(), "follows channel 5, which varies most"
    assert red[0, 0] == 0
    assert red[-1, -1] == 1


def test_fewer_channels_than_three_still_give_colours() -> None:
    first, _ = principal_colours(torch.randn(1, 3, 3, 2), torch.randn(1, 3, 3, 2))
    assert first.shape == (1, 3, 3, 3)
    assert first.min() >= 0
    assert first.max() <= 1


def test_near_is_bright() -> None:
    shades = depth_shades(torch.linspace(1, 5, 16).reshape(1, 4, 4))
    assert (shades[0, 0].flatten().diff() <= 0).all()


def test_picture_has_three_rows_and_a_column_per_view() -> None:
    record = IntervalRecord(3, {}, torch.randn(8, 4, 4, 5), torch.randn(8, 4, 4, 5), torch.rand(8, 4, 4) + 1)
    assert interval_picture(record).shape == (3 * 100 - 4, 6 * 100 - 4, 3)
