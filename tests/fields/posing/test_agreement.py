"""Trust of proxies beside the flesh where it does not matter, and of fog."""

import pytest
import torch
from torch import Tensor

from qnerf.fields.posing import posed_field
from qnerf.fields.posing.agreement import agreement
from qnerf.fields.posing.march import _spread
from qnerf.fields.posing.posed_views import PosedViews, pose_views
from qnerf.fields.posing.settings import PosingSettings
from tests.fields.posing.analytic import SolidField, Tube, cameras, render, skeleton

SETTINGS = PosingSettings(voxels=48, samples=96, relight=False)
TRUNK = [[0.0, 0.0, -0.5], [0.0, 0.0, 0.5]]
LIMB = [[0.24, 0.0, -0.25], [0.24, 0.0, 0.25]]
BONES = ((0, 1), (2, 3))


class Fog(SolidField):
    """Solids so thin that light passes a tenth of the world through them."""

    def radiance(self, points: Tensor) -> tuple[Tensor, Tensor]:
        density, colour = super().radiance(points)
        return density / 40, colour


def solids() -> list[Tube]:
    return [Tube(torch.tensor(TRUNK[0]), torch.tensor(TRUNK[1]), 0.12), Tube(torch.tensor(LIMB[0]), torch.tensor(LIMB[1]), 0.06, 1)]


def moved_trust(
    field: SolidField, beside: float, target: list[list[float]], refine: float = 0.06, target_beside: float | None = None
) -> tuple[float, PosedViews]:
    """Mean trust of moved parts, the limb's bone being drawn so far beside its middle, before and after, or else after."""
    by = beside, beside if target_beside is None else target_beside
    before, after = ([[x + off, y, z] for x, y, z in bone] for bone, off in zip((LIMB, target), by, strict=True))
    views = cameras()
    proxy = skeleton([*TRUNK, *before], [*TRUNK, *after], BONES)
    found = pose_views(field, proxy, views, render(field, views), SETTINGS.model_copy(update={"refine": refine}))
    return float(found.trust[found.moved > 0.9].mean()), found


def test_pictures_are_compared_where_any_of_them_changes() -> None:
    a, changed = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4)
    changed[:, :, :2] = 1
    b = a.clone()
    b[..., 2:] = 1  # where nothing changes
    assert agreement([a, b, a, a], 4 * [changed]) == 1
    b[..., :2] = 10 ** (-23 / 20)  # 23 dB, midway
    assert agreement([a, a, b, a], [changed, 0 * changed, changed, changed]) == pytest.approx(0.5, abs=1e-4)
    b[..., :2] = 0.1  # 20 dB
    assert agreement([a, b, a, a], 4 * [changed]) == pytest.approx(0, abs=1e-6)
    assert agreement([a, a, a, b], 4 * [changed]) == pytest.approx(1, abs=1e-6), "the same flesh a little beside"
    b[..., :2] = 10 ** (-17 / 20)
    assert agreement([a, a, a, b], 4 * [changed]) == pytest.approx(0.5, abs=1e-4), "and far beside"
    assert agreement(4 * [a], 4 * [0 * changed]) == 0, "nothing to compare tells nothing"


def test_a_bone_beside_its_flesh_is_believed_where_it_takes_the_same_flesh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the limb in the air it carries that limb away all the same; in the trunk's skin it takes trunk along."""
    field, carried = SolidField(solids()), [[0.64, 0.0, 0.0], [0.64, 0.0, 0.5]]
    in_air, in_trunk = (moved_trust(field, beside, carried)[0] for beside in (0.08, -0.1))
    assert in_air > 0.9
    assert in_trunk < 0.5
    assert moved_trust(field, 0.12, carried, target_beside=0.0)[0] < 0.6, "the limb would come beside its target"
    monkeypatch.setattr("qnerf.fields.posing.posed_views.SURE", 0.0)  # by the distance alone
    assert moved_trust(field, 0.08, carried)[0] < 0.4


def test_no_view_that_sees_what_moves_is_no_error() -> None:
    field, views = SolidField(solids()), cameras()
    far = [[x + 40, y, z] for x, y, z in LIMB]
    proxy = skeleton([*TRUNK, *far], [*TRUNK, far[0], [41.0, 0.0, -0.25]], BONES)
    source = render(field, views)
    found = pose_views(field, proxy, views, source, SETTINGS, lambda done, total: pytest.fail(f"{done} of {total}"))
    assert torch.equal(found.images, source)


def test_a_bone_that_the_edit_makes_a_point_vanishes_and_no_number_is_lost() -> None:
    _, found = moved_trust(SolidField(solids()), 0.0, [LIMB[0], LIMB[0]])
    assert found.images.isfinite().all()
    assert found.trust.isfinite().all()
    assert not (found.moved > 0.9).any(), "nothing is left to be seen"


def test_a_proxy_that_fits_is_not_posed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qnerf.fields.posing.posed_views.alternatives", None)
    assert moved_trust(SolidField(solids()), 0.0, [LIMB[0], [0.8, 0.0, -0.25]])[0] > 0.8


def test_the_spread_of_a_ray() -> None:
    distance = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    weights = torch.tensor([[0.0, 0.4, 0.0], [0.2, 0.0, 0.2], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(_spread(weights, distance), torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0)


def test_fog_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that are fog through and through, and are taken to fit."""
    monkeypatch.setattr(posed_field, "_fit", lambda *_: torch.ones(()))
    target = [LIMB[0], [0.8, 0.0, -0.25]]
    firm, fog = (moved_trust(field, 0.0, target, refine=0)[0] for field in (SolidField(solids()), Fog(solids())))
    assert firm > 0.8
    assert fog < 0.3


def test_work_is_counted_to_its_end() -> None:
    field, views, told = SolidField(solids()), cameras(), []
    beside = [[x + 0.08, y, z] for x, y, z in LIMB]
    proxy = skeleton([*TRUNK, *beside], [*TRUNK, beside[0], [0.8, 0.0, -0.25]], BONES)
    pose_views(field, proxy, views, render(field, views), SETTINGS, lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert {total for _, total in told} == {told[-1][0]}
    assert len(told) > 4, "four coarse pictures and the fine one"
