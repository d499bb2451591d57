"""The settings that metrics read, without a whole run's."""

from __future__ import annotations

from qnerf.fields.settings import RgbFieldSettings
from qnerf.metrics.settings import MetricsSettings
from qnerf.settings import Settings


class SceneRegion(Settings):
    focus: tuple[float, float, float] | None = None
    radius: float | None = None


class MetricInputs(Settings):
    metrics: MetricsSettings = MetricsSettings()
    rgb_field: RgbFieldSettings
    seed: int = 0
    scene: SceneRegion = SceneRegion()


def metric_settings(rgb_field: RgbFieldSettings | None = None, **metrics: object) -> MetricInputs:
    """Default settings but for those given, of metrics by name."""
    field = rgb_field or RgbFieldSettings.model_validate({})
    return MetricInputs(rgb_field=field, metrics=MetricsSettings.model_validate(metrics))
