"""What a group of figures is given, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from qnerf.classifiers.classifiers import Classifiers
from qnerf.evaluate_backbone.jobs import Painter
from qnerf.evaluate_backbone.settings import EvaluateSettings
from qnerf.evaluate_backbone.views import Views

Rows = Sequence[Sequence[Tensor]]  # a sheet's images (3, H, W) in [0, 1]


@dataclass(frozen=True)
class Subject:
    """The evaluated backbone (`painter.backbone`), the classifiers, and the held-out views."""

    settings: EvaluateSettings
    painter: Painter
    classifiers: Classifiers

    @property
    def views(self) -> Views:
        return self.painter.views


@dataclass(frozen=True)
class Findings:
    """figures: plain data, keyed as in figures.json. sheets: pictures by name. charts: by name, x, label of x and of y, series."""

    figures: dict[str, Any]
    sheets: Mapping[str, Rows] = field(default_factory=dict)
    charts: Mapping[str, tuple[list[float], str, str, dict[str, list[float]]]] = field(default_factory=dict)
