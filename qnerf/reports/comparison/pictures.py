"""The views of all cells, small enough for one page: each set of views is one strip, side by side, as a WebP data URI.

A strip a set, and not a picture a view, since a browser then decodes an orbit once. Source views are stored once for all cells
that share a scene.
"""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf
from PIL import Image
from pydantic import ValidationError

from qnerf.errors import UserError
from qnerf.reports.images import spread, to_pixels
from qnerf.scenes.reader import read_scene
from qnerf.scenes.settings import SceneSettings

log = logging.getLogger(__name__)

MOST_VIEWS = 24  # of a cell: an orbit is smooth enough, and a capture of hundreds of views stays small
SIZES = ((60, 192, MOST_VIEWS), (600, 128, MOST_VIEWS))  # up to so many cells: pixels of a view, and views
SIZE_OF_MANY = (64, 6)  # likewise with more: 5,000 cells are a page of 25 MB
QUALITY = 82

Picture = Image.Image


@dataclass(frozen=True)
class CellViews:
    """One cell's pictures. names: of the views. after: its strip. scene: the key of its SceneViews, if they are known. proportions:
    of a view, width by height."""

    names: Sequence[str]
    after: str
    scene: str | None
    proportions: float = 1.0


@dataclass
class SceneViews:
    """Strips that cells of one scene share. truth: the true edited views, where they are known."""

    before: str
    truth: str | None


@dataclass
class Album:
    """Makes strips and keeps those of scenes. side: pixels of a view. most: views of a cell."""

    side: int = SIZES[0][1]
    most: int = MOST_VIEWS
    scenes: dict[str, SceneViews] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)

    def views_of(self, folder: Path) -> CellViews | None:
        """The pictures of a run folder, or none where it has no edited views."""
        paths = sorted((folder / "edited").glob("*.png"))
        chosen = [paths[i] for i in spread(len(paths), self.most)]
        if not chosen:
            return None
        names = [path.stem for path in chosen]
        pictures = [Image.open(path) for path in chosen]
        proportions = pictures[0].width / pictures[0].height
        return CellViews(names, strip(pictures, self.side), self._scene_of(folder, names), proportions)

    def _scene_of(self, folder: Path, names: Sequence[str]) -> str | None:
        try:
            node = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
            settings = SceneSettings.model_validate(node["scene"])  # pyright: ignore[reportArgumentType, reportOptionalSubscript, reportCallIssue]
        except (OSError, KeyError, TypeError, ValidationError):
            return None
        key = settings.model_dump_json()
        if key not in self.scenes and key not in self._failed:
            self._add_scene(key, settings, names)
        return key if key in self.scenes else None

    def _add_scene(self, key: str, settings: SceneSettings, names: Sequence[str]) -> None:
        try:
            scene = read_scene(settings)
            order = [list(scene.view_names).index(name) for name in names]
        except (UserError, ValueError) as error:
            self._failed.add(key)
            log.warning("The page does not show the source views of %s: %s", settings.path, str(error).splitlines()[0])
            return
        before = strip([Image.fromarray(to_pixels(scene.images[i])) for i in order], self.side)
        truth = scene.truth and strip([Image.fromarray(to_pixels(scene.truth.edited_images[i])) for i in order], self.side)
        self.scenes[key] = SceneViews(before, truth)


def album_for(cells: int) -> Album:
    """For a sweep of so many cells."""
    side, views = next(((side, views) for most, side, views in SIZES if cells <= most), SIZE_OF_MANY)
    return Album(side, views)


def strip(pictures: Sequence[Picture], side: int) -> str:
    """Pictures of one size side by side, at most `side` pixels high, as a data URI."""
    width, height = pictures[0].size
    size = (min(side, height) * width // height, min(side, height))
    page = Image.new("RGB", (size[0] * len(pictures), size[1]))
    for i, picture in enumerate(pictures):
        page.paste(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS), (i * size[0], 0))
    buffer = io.BytesIO()
    page.save(buffer, format="WEBP", quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
