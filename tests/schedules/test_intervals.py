"""Where intervals end, by hand."""

import pytest

from qnerf.guidance.off import OffSettings
from qnerf.guidance.soft import SoftSettings
from qnerf.schedules.one_shot import OneShotSettings
from qnerf.schedules.progressive import ProgressiveSettings


@pytest.mark.parametrize(
    ("interval", "growth", "ends"),
    [
        (5, 1.0, [5, 10, 15, 20, 25, 30]),
        (7, 1.0, [7, 14, 21, 28, 30]),
        (3, 1.5, [3, 8, 14, 24, 30]),  # 3, 7.5, 14.25, 24.375
        (16, 0.5, [16, 24, 28, 30]),
        (2, 0.5, [2, 3, *range(4, 31)]),  # never less than a step
    ],
)
def test_intervals_end_where_their_lengths_add_up_to(interval: int, growth: float, ends: list[int]) -> None:
    for schedule in (
        ProgressiveSettings(name="progressive", interval=interval, growth=growth),
        OneShotSettings(name="one_shot", interval=interval, growth=growth),
    ):
        assert schedule.ends(30) == ends
        assert [schedule.end(start, 30) for start in [0, *ends[:-1]]] == ends


def test_fields_are_trained_at_ends_that_guidance_reaches() -> None:
    schedule = ProgressiveSettings(name="progressive", interval=3, growth=1.5)
    assert schedule.stops(SoftSettings(name="soft", until=0.4), 30) == [3, 8]
    assert schedule.stops(OffSettings(name="off"), 30) == [3, 8, 14, 24]
