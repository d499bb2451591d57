"""The figures of edited views, in two classes: those that need the true edited views, and those that need the cameras alone.

The groups are those of runs (`qnerf.metrics.registry`), so that a figure is one thing wherever it stands. Those of the second class
are measured of the source views too: what one real scene reaches is the most that its edit can be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from qnerf.composing.compose import CONFIGS
from qnerf.fields.settings import RgbFieldSettings
from qnerf.fields.space import Space
from qnerf.measure_views.reading import Measured
from qnerf.measure_views.registration import RECORDS, registration_figures, unavailable
from qnerf.metrics.evaluate import evaluate_group
from qnerf.metrics.fidelity import psnr, ssim
from qnerf.metrics.radiance import radiance_figures
from qnerf.metrics.registry import Metric, groups, metric_of
from qnerf.metrics.settings import MetricsSettings
from qnerf.scenes.scene import Scene
from qnerf.settings import Settings

OF_THE_TRUTH = ("fidelity", "consistency", "errors", "silhouette")
LEFT_OUT = {
    "with weights (CLIP direction, LPIPS, FID and KID with Inception, DINO)": "no such network travels with qnerf, and none is "
    "looked for",
}


class Region(Settings):
    """As runs have it: from the folder."""

    focus: None = None
    radius: None = None


class MeasureSettings(Settings):
    """What groups of figures read, by the keys of a run's settings."""

    metrics: MetricsSettings = MetricsSettings()
    rgb_field: RgbFieldSettings
    seed: int = 0
    scene: Region = Region()


@dataclass(frozen=True)
class Figures:
    """truth, geometry: of the edited views, by name. source: the figures of `geometry`, of the source views. left_out: what was not
    measured, and why."""

    truth: Mapping[str, float]
    geometry: Mapping[str, float]
    source: Mapping[str, float]
    left_out: Mapping[str, str]


def settings() -> MeasureSettings:
    """With the radiance field of runs (conf/rgb_field/hash_grid.yaml)."""
    field: Any = OmegaConf.to_container(OmegaConf.load(CONFIGS / "rgb_field" / "hash_grid.yaml"))
    return MeasureSettings(rgb_field=RgbFieldSettings.model_validate(field))


def measure_views(measured: Measured, chosen: MeasureSettings, field: bool = True) -> Figures:
    """All figures that there is something for. field: whether radiance fields are trained, which takes the most time."""
    left_out = dict(LEFT_OUT)
    if reason := unavailable():
        left_out["registration by COLMAP"] = reason
    if not field:
        left_out["held-out views and depth agreement of a radiance field"] = "--no-field was given"
    if measured.edited.truth is None and measured.true_images is None:
        left_out["with a truth"] = "no --truth was given"
    geometry, source = (_geometry(scene, chosen, field) for scene in (measured.edited, measured.source))
    return Figures(_with_truth(measured, chosen), geometry, source, left_out)


def record_of(name: str) -> Metric:
    """The record of a figure: the registry's, or one of COLMAP's."""
    return next((record for record in RECORDS if record.name == name), None) or metric_of(name)


def _with_truth(measured: Measured, chosen: MeasureSettings) -> dict[str, float]:
    images, true = measured.edited.images, measured.true_images
    if true is not None:
        return {"psnr_truth": psnr(images, true), "ssim_truth": ssim(images, true)}
    if measured.edited.truth is None:
        return {}
    found: dict[str, float] = {}
    for group in OF_THE_TRUTH:
        found |= evaluate_group(group, images, measured.edited, chosen)
    order = [metric.name for metrics in groups().values() for metric in metrics]
    return {name: found[name] for name in sorted(found, key=order.index)}


def _geometry(scene: Scene, chosen: MeasureSettings, field: bool) -> dict[str, float]:
    found = evaluate_group("epipolar", scene.images, scene, chosen)
    if unavailable() is None:
        found |= registration_figures(scene.images)
    if field:
        space = Space(scene.focus, scene.radius)
        every, tolerance = chosen.metrics.heldout_every, chosen.metrics.depth_tolerance
        found |= radiance_figures(scene.images, scene.cameras, space, every, chosen.rgb_field, chosen.seed, tolerance)
    return found
