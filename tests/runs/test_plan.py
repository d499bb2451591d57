import pytest

from qnerf.config import MethodSettings
from qnerf.guidance.hard import HardSettings
from qnerf.guidance.off import OffSettings
from qnerf.guidance.soft import SoftSettings
from qnerf.runs.plan import plan_method
from qnerf.schedules.independent import IndependentSettings
from qnerf.schedules.look_ahead import FeedbackSettings
from qnerf.schedules.one_shot import OneShotSettings
from qnerf.schedules.oracle import OracleSettings
from qnerf.schedules.progressive import ProgressiveSettings

SOFT, HARD, OFF = SoftSettings(name="soft"), HardSettings(name="hard"), OffSettings(name="off")


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (MethodSettings(schedule=IndependentSettings(name="independent"), guidance=OFF), {"unet": 10}),
        (MethodSettings(schedule=OracleSettings(name="oracle"), guidance=SOFT), {"unet": 10 * (1 + 4)}),
        # 3 plain steps, 7 looked ahead at, 7 guided; fields after steps 3, 6 and 9
        (
            MethodSettings(schedule=ProgressiveSettings(name="progressive", interval=3), guidance=SOFT),
            {"unet": 3 + 7 + 7 * 4, "field": 3, "feedback": 0},
        ),
        (
            MethodSettings(schedule=ProgressiveSettings(name="progressive", interval=5), guidance=HARD),
            {"unet": 5 + 5 + 5, "field": 1, "feedback": 0},
        ),
        # and one prediction more, for the pictures
        (
            MethodSettings(
                schedule=ProgressiveSettings(name="progressive", interval=5, feedback=FeedbackSettings(at=0.6, weight=0.5)),
                guidance=HARD,
            ),
            {"unet": 5 + 5 + 5 + 1, "field": 1, "feedback": 1},
        ),
        # a plain edit of 10 steps, then 3 plain and 7 guided ones
        (
            MethodSettings(schedule=OneShotSettings(name="one_shot", interval=3), guidance=SOFT),
            {"unet": 10 + 3 + 7 * 4, "field": 1},
        ),
    ],
)
def test_work_of_each_schedule_by_hand(method: MethodSettings, expected: dict[str, float]) -> None:
    assert plan_method(method, steps=10, views=1) == expected
