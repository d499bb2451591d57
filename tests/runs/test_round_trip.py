"""What the autoencoder alone leaves of the object, with an autoencoder whose round trip is known: means of 4 x 4 pixels."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.errors import UserError
from qnerf.metrics.evaluate import evaluate_group
from qnerf.metrics.settings import MetricsSettings
from qnerf.runs.round_trip import round_trip_psnr
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.region import edited_region
from qnerf.scenes.scene import Scene


class Means:
    """A backbone of 8 x 8 latents."""

    device, dtype = torch.device("cpu"), torch.float32

    def encode(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images, 4)

    def decode(self, latents: Tensor) -> Tensor:
        return F.interpolate(latents, scale_factor=4)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return build_scene(0, views=3, size=32)


def inverted(scene: Scene) -> Any:
    assert scene.proxy is not None
    region = edited_region(scene.proxy, scene.cameras, (8, 8), 0.04)
    return cast(
        Any,
        SimpleNamespace(
            scene=scene, backbone=Means(), settings=SimpleNamespace(chunk_size=2), view_names=scene.view_names,
            latents=Means().encode(scene.images), controls=SimpleNamespace(region=region),
        ),
    )  # fmt: skip


def test_the_ceiling_is_what_the_true_views_score_when_they_are_decoded(scene: Scene) -> None:
    assert scene.truth is not None
    found = round_trip_psnr(inverted(scene))
    decoded = Means().decode(Means().encode(scene.truth.edited_images))
    measured = evaluate_group("fidelity", decoded, scene, cast(Any, SimpleNamespace(metrics=MetricsSettings())))
    assert found["psnr_object_ceiling"] == pytest.approx(measured["psnr_object"])
    assert found["psnr_moved_ceiling"] == pytest.approx(measured["psnr_moved"])


def test_without_a_truth_the_source_is_measured_where_the_proxy_is(scene: Scene) -> None:
    photographed = replace(scene, truth=None)
    job = inverted(photographed)
    inside = job.controls.region.object.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    error = (Means().decode(Means().encode(scene.images)) - scene.images).square().mean(dim=1) * inside
    by_view = -10 * (error.sum(dim=(1, 2)) / inside.sum(dim=(1, 2))).log10()
    assert round_trip_psnr(job) == {"round_trip_psnr_object": pytest.approx(by_view.mean().item(), rel=1e-5)}


def test_pictures_that_are_not_finite_stop_it(scene: Scene) -> None:
    job = inverted(scene)
    job.latents[1, 0, 0, 0] = torch.nan
    with pytest.raises(UserError, match="checking the autoencoder"):
        round_trip_psnr(job)
