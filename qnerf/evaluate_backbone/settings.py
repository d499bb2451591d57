"""Settings of `python -m qnerf.evaluate_backbone`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qnerf.backbones.puppet import PuppetSettings
from qnerf.settings import Settings

Group = Literal["classifiers", "autoencoder", "generation", "loose", "inversion", "guidance", "queries", "pointing", "cost"]
GROUPS: tuple[Group, ...] = (
    "cost", "classifiers", "autoencoder", "queries", "pointing", "generation", "loose", "inversion", "guidance",
)  # fmt: skip
Kind = Literal["figure", "lamp", "seat", "toy"]
Scale = Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)]


class EvaluateSettings(Settings):
    """What is evaluated, and how much; conf/evaluate_backbone/config.yaml explains each setting."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    output_dir: str = Field(min_length=1)
    backbone: PuppetSettings
    classifiers: str | None = None
    world: Literal[1, 2] = 1
    kinds: tuple[Kind, ...] | None = None
    seed: int = Field(default=950, ge=900, le=999)
    views: int = Field(default=256, ge=4)
    sweep_views: int = Field(default=64, ge=4)
    steps: int = Field(default=50, ge=2, le=999)
    guidance: Scale = 5.0
    sweep: tuple[Scale, ...] = Field(default=(1.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0), min_length=2)
    strong_guidance: Scale = 7.5
    control: Literal["bones", "joints", "ends"] = "bones"
    control_scale: float = Field(default=1.0, ge=0, le=2)
    null_control: bool = False
    photographs: str | None = None
    groups: tuple[Group, ...] | None = None
    chunk_size: int = Field(default=16, ge=1)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    threads: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _fits_the_world(self) -> Self:
        if self.world == 1 and self.kinds and set(self.kinds) != {"figure"}:
            raise ValueError("world 1 has figures only; set world=2 or kinds=[figure]")
        if self.world == 1 and self.groups and "loose" in self.groups:
            raise ValueError("weights of world 1 do not know loose depth; set world=2 or leave out the group loose")
        if self.sweep_views > self.views:
            raise ValueError(f"sweep_views is {self.sweep_views}, expected at most views, {self.views}; lower it or raise views")
        return self

    def chosen(self) -> tuple[Group, ...]:
        """The groups to compute, the quick ones first."""
        return tuple(g for g in GROUPS if (g in self.groups if self.groups else self.world > 1 or g != "loose"))
