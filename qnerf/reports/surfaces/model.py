"""The radiance fields of a run's views, before and after the edit: what a point cloud, a splat and a film are made of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import yaml
from torch import Tensor

from qnerf.common import renamed
from qnerf.errors import UserError
from qnerf.fields.settings import SourceFieldSettings
from qnerf.fields.source_field import SourceField, train_source_field
from qnerf.fields.space import Space
from qnerf.fields.surface import Cloud, Look, cloud_of, look
from qnerf.scenes.reader import read_with_notes
from qnerf.scenes.readers.reader import Frame
from qnerf.scenes.scene import Proxy, Scene
from qnerf.scenes.settings import SceneSettings

log = logging.getLogger(__name__)

REACH = 2.0  # radii round the focus from which a cloud's points are taken
Say = Callable[[str], None]


@dataclass(frozen=True)
class Model:
    """One state of the scene. images: (N, 3, H, W), what the field was trained on. psnr: dB, of its renderings of these."""

    images: Tensor
    field: SourceField
    seen: Look
    cloud: Cloud
    psnr: float


@dataclass(frozen=True)
class Models:
    """scene: of the edited views, with their cameras. before: None where the source views are not known."""

    scene: Scene
    after: Model
    before: Model | None


def views_of(folder: Path, frames: list[Frame]) -> Scene:
    """The views of a run's folder, as they are. Raises UserError where they are too large to train a field on, or of several
    sizes."""
    sizes = {(round(frame.numbers["w"]), round(frame.numbers["h"])) for frame in frames if frame.numbers.keys() >= {"w", "h"}}
    size = next(iter(sizes), (0, 0))
    if len(sizes) != 1 or size[0] % 8 or size[1] % 8 or not 32 <= min(size) <= max(size) <= 2048:
        found = ", ".join(f"{width} x {height}" for width, height in sorted(sizes)) or "no size"
        raise UserError(
            f"{folder} has views of {found}, expected one size of multiples of 8 from 32 to 2048 pixels, as runs write: give a run."
        )
    return read_with_notes(SceneSettings(path=str(folder), size=size, source_prompt=""))[0]


def settings_of(folder: Path) -> tuple[SceneSettings | None, SourceFieldSettings, int]:
    """The scene, the field's settings and the seed of a run's folder, under today's keys; of a folder without config.yaml, or with
    one that says none of these, no scene, the default field and 0."""
    path = folder / "config.yaml"
    try:
        config = renamed.config(yaml.safe_load(path.read_text(encoding="utf-8"))) if path.is_file() else {}
        scene = SceneSettings.model_validate(config["scene"]) if "scene" in config else None
        return scene, SourceFieldSettings.model_validate(config.get("source_field", {})), int(config.get("seed", 0))
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(
            f"{path} cannot be read ({str(error).splitlines()[0]}): run the edit again, or move the file away."
        ) from None


def source_of(settings: SceneSettings, edited: Scene) -> Scene | None:
    """The scene of a run before its edit, None, with a warning, where it is not there or has other views."""
    try:
        source = read_with_notes(settings)[0]
    except UserError as error:
        log.warning("The views before the edit are left out: %s", str(error).splitlines()[0])
        return None
    if source.view_names != edited.view_names or source.images.shape != edited.images.shape or source.world != edited.world:
        log.warning("The views before the edit are left out: %s has others than the run.", settings.path)
        return None
    return source


def train_models(scene: Scene, source: Scene | None, settings: SourceFieldSettings, seed: int, say: Say) -> Models:
    """A field for the edited views, and one for the source's where they are known. say: told what is being done."""
    proxy = None if source is None else source.proxy
    if source is not None:
        scene = replace(scene, valid=source.valid)  # depth is the source's alone
    after = _model(scene, None if proxy is None else edited(proxy), settings, seed, "after", say)
    before = None if source is None else _model(source, proxy, settings, seed, "before", say)
    return Models(scene, after, before)


def edited(proxy: Proxy) -> Proxy:
    """The proxy of the scene that the edit leaves: where it ends is where the object now is."""
    return replace(proxy, source=proxy.target, source_bounds=proxy.target_bounds)


def _model(scene: Scene, proxy: Proxy | None, settings: SourceFieldSettings, seed: int, state: str, say: Say) -> Model:
    images, space = scene.images, Space(scene.focus, scene.radius, scene.limits)
    say(f"The radiance field of the {len(images)} views {state} the edit, {settings.optimiser.iterations} steps …")
    field = train_source_field(images, scene.cameras, space, settings, seed, proxy, scene.depth, scene.valid)
    seen = look(field, scene.cameras)
    psnr = decibels(seen.colours.permute(0, 3, 1, 2), images)
    cloud = cloud_of(seen, scene.cameras, scene.focus, REACH * scene.radius)
    if not len(cloud.points):
        raise UserError(
            f"the radiance field of the views {state} the edit has no surface within {REACH:g} radii of the focus, expected one: "
            "set scene.focus and scene.radius, or train it longer (source_field.optimiser.iterations)."
        )
    say(f"  {psnr:.2f} dB on these views, {len(cloud.points)} points.")
    return Model(images, field, seen, cloud, psnr)


def decibels(found: Tensor, wanted: Tensor) -> float:
    """The mean over views (N, 3, H, W) of their PSNR, dB."""
    return float((-10 * torch.log10((found - wanted).square().mean(dim=(1, 2, 3)).clamp_min(1e-10))).mean())
