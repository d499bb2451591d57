"""What a group of figures is given, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from qnerf.examine.jobs import Painter
from qnerf.examine.settings import ExamineSettings
from qnerf.examine.views import Views
from qnerf.judges.judges import Judges

Rows = Sequence[Sequence[Tensor]]  # a sheet's images (3, H, W) in [0, 1]


@dataclass(frozen=True)
class Subject:
    """The examined backbone (`painter.backbone`), the judges, and the held-out views."""

    settings: ExamineSettings
    painter: Painter
    judges: Judges

    @property
    def views(self) -> Views:
        return self.painter.views


@dataclass(frozen=True)
class Findings:
    """figures: plain data, keyed as in figures.json. sheets: pictures by name. charts: by name, x, label of x and of y, series."""

    figures: dict[str, Any]
    sheets: Mapping[str, Rows] = field(default_factory=dict)
    charts: Mapping[str, tuple[list[float], str, str, dict[str, list[float]]]] = field(default_factory=dict)
