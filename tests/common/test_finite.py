"""Not-a-number is refused where it arises: no comparison with it is true."""

from __future__ import annotations

import math

import pytest
import torch

from qnerf.common.finite import require_finite
from qnerf.errors import UserError
from qnerf.metrics.heldout import heldout_psnr
from qnerf.runs.reconstruction import poor_views
from qnerf.scenes.procedural.build import build_scene

NAMES = ("000", "001", "002", "003")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_stage_method_and_view_are_named(value: float) -> None:
    pictures = torch.rand(4, 3, 8, 8)
    require_finite(pictures, "decoding the edit: pictures", NAMES, "full")
    pictures[2, 1, 3, 3] = value
    expected = r"decoding the edit: pictures of method full: NaN or infinite in 1 of 4 views \(002\), expected finite"
    with pytest.raises(UserError, match=expected):
        require_finite(pictures, "decoding the edit: pictures", NAMES, "full")


def test_no_more_than_four_views_are_named() -> None:
    with pytest.raises(UserError, match=r"in 5 of 5 views \(0, 1, 2, 3 …\)"):
        require_finite(torch.full((5, 2), math.nan), "latents", [str(i) for i in range(5)])


def test_a_psnr_that_is_not_a_number_passes_no_threshold() -> None:
    assert poor_views(NAMES, [30.0, 10.0, 20.0, 19.9], 20.0) == ["001", "003"]
    with pytest.raises(UserError, match="inversion: the reconstruction of 001 is not finite"):
        poor_views(NAMES, [30.0, math.nan, 20.0, 19.9], 20.0)


def test_a_radiance_field_that_renders_nan_is_no_missing_figure() -> None:
    scene = build_scene(seed=2, views=8, size=16)
    with pytest.raises(UserError, match=r"heldout_psnr: renderings of its radiance field: .* \(view 3, view 7\)"):
        heldout_psnr(scene.images, scene.cameras, 4, lambda *_: lambda held_out: torch.full((len(held_out), 3, 16, 16), math.nan))
