import math

import pytest
import torch

from qnerf.fields.settings import InitialDensitySettings
from qnerf.fields.trunk import Trunk
from tests.fields.helpers import SPACE, field_settings


def test_density_starts_as_a_soft_ball_by_hand() -> None:
    start = InitialDensitySettings(centre=4.0, surroundings=0.25, spread=0.5)
    trunk = Trunk(field_settings(initial_density=start), SPACE, torch.device("cpu"), seed=0)
    with torch.no_grad():
        trunk.out.weight.zero_()
        trunk.out.bias.zero_()
    points = SPACE.to_cube(torch.tensor([[0.0, 0.0, 0.0], [0.55, 0.0, 0.0], [0.0, 0.0, 1e6]]))
    found = trunk.density(points).tolist()
    assert found == pytest.approx([4.0, 0.25 * 16 ** math.exp(-0.5), 0.25], rel=1e-3)
    assert trunk(points)[0].tolist() == pytest.approx(found)
