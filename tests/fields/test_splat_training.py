"""Gaussians trained by a rasteriser: by the plain one here, and what gsplat's is given."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.fields import splat_training
from qnerf.fields.splat_training import as_gsplat_has, by_gsplat, missing, plainly, train, trained_on_gpu
from qnerf.fields.splats import FAR, Splats, _projected, fit, render_splats, surface_splats
from qnerf.metrics.fidelity import psnr
from qnerf.scenes.cameras import Cameras
from tests.fields.helpers import ring
from tests.fields.test_surface import sphere_look

NAMES = ["means", "quats", "scales", "opacities", "colors", "viewmats", "Ks", "width", "height", "eps2d", "packed"]


def drawn_splats() -> Splats:
    generator = torch.Generator().manual_seed(3)
    turns = torch.nn.functional.normalize(torch.randn(40, 4, generator=generator), dim=-1)
    points, colours, scales = (torch.rand(40, 3, generator=generator) for _ in range(3))
    return Splats(1.4 * points - 0.7, colours, torch.full((40,), 0.7), 0.03 + 0.1 * scales, turns)


def rasterization(**given: Any) -> tuple[Tensor, None, None]:
    """In the place of gsplat's: from its arguments back to a camera, and that to the plain renderer."""
    assert sorted(given) == sorted(NAMES)
    assert given["eps2d"] == 0.3
    pose = torch.linalg.inv(given["viewmats"]) @ torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    lens = given["Ks"]
    focal = torch.stack([lens[:, 0, 0], lens[:, 1, 1]], dim=-1)
    camera = Cameras(pose, focal, lens[:, :2, 2], given["width"], given["height"])
    splats = Splats(*(given[name] for name in ("means", "colors", "opacities", "scales", "quats")))
    return plainly(splats, camera).permute(1, 2, 0)[None], None, None


def test_gsplat_is_given_the_same_gaussians_and_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", SimpleNamespace(rasterization=rasterization))
    camera = ring(3, pixels=16)[[1]]
    camera = replace(camera, focal=camera.focal * torch.tensor([1.0, 1.2]), centre=camera.centre + torch.tensor([1.0, -2.0]))
    found = by_gsplat(drawn_splats(), camera)
    torch.testing.assert_close(found, plainly(drawn_splats(), camera), atol=1e-4, rtol=0)
    assert found.std() > 0.05


def test_gsplat_itself_has_these_arguments_and_projects_as_we_do() -> None:
    """Its projection in plain PyTorch needs no GPU: pixels, depths and inverse covariances."""
    pytest.importorskip("gsplat")
    from gsplat import rasterization as theirs  # pyright: ignore[reportMissingImports]
    from gsplat.cuda._torch_impl import (  # pyright: ignore[reportMissingImports]
        _fully_fused_projection,
        _quat_scale_to_covar_preci,
    )

    assert set(NAMES) <= set(inspect.signature(theirs).parameters)
    splats, camera = drawn_splats(), ring(3, pixels=64)[[1]]
    views, lenses = as_gsplat_has(camera)
    shapes, _ = _quat_scale_to_covar_preci(splats.rotations, splats.scales, True, False, triu=False)
    _, pixels, depths, conics, _ = _fully_fused_projection(splats.points, shapes, views, lenses, 64, 64)
    ours, z = camera.project(splats.points)
    torch.testing.assert_close(pixels[0], ours[0], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(depths[0], z[0], atol=1e-5, rtol=1e-5)
    inverse, _ = _projected(splats, camera, z[0].double(), torch.arange(len(z[0])))
    expected = torch.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], dim=-1).float()
    torch.testing.assert_close(conics[0], expected, atol=1e-4, rtol=1e-3)


def test_training_moves_and_shapes_what_is_near_and_leaves_the_sky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaussians displaced by a cell, which colours and opacities alone cannot mend; twice the same bits."""
    cameras = ring(4, pixels=20)
    seen = sphere_look(cameras)
    images = seen.colours.permute(0, 3, 1, 2)
    exact = surface_splats(seen, cameras, 1.0)
    noise = 0.06 * torch.randn(exact.points.shape, generator=torch.Generator().manual_seed(0))
    near = exact.points.norm(dim=-1) < FAR / 2
    assert 20 < near.sum() < len(near)
    start = fit(replace(exact, points=torch.where(near[:, None], exact.points + noise, exact.points)), images, cameras)
    monkeypatch.setattr(splat_training, "POSITION", 4e-3)  # a few steps are to show what thousands do
    found, again = (train(start, images, cameras, 1.0, plainly, steps=80, seed=5) for _ in range(2))
    before, after = (psnr(render_splats(splats, cameras), images) for splats in (start, found))
    assert after > before + 1.5
    assert torch.equal(found.points, again.points)
    assert torch.equal(found.points[~near], start.points[~near])
    torch.testing.assert_close(found.scales[~near], start.scales[~near])
    assert (found.points[near] - start.points[near]).norm(dim=-1).median() > 1e-3
    torch.testing.assert_close(found.rotations.norm(dim=-1), torch.ones(len(found.points)))
    assert found.opacity.min() > 0
    assert found.opacity.max() < 1
    assert not any(getattr(found, name).requires_grad for name in ("points", "colours", "opacity", "scales", "rotations"))


def test_why_nothing_is_trained_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert missing() == "there is no CUDA GPU"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "qnerf[gsplat]"' in str(missing())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert missing() is None


@pytest.mark.gpu
def test_gsplat_trains_on_a_gpu() -> None:
    pytest.importorskip("gsplat")
    cameras = ring(4, pixels=20)
    seen = sphere_look(cameras)
    images = seen.colours.permute(0, 3, 1, 2)
    start = fit(surface_splats(seen, cameras, 1.0), images, cameras)
    found = trained_on_gpu(start, images, cameras, 1.0)
    before, after = (psnr(render_splats(splats, cameras), images) for splats in (start, found))
    assert after > before
