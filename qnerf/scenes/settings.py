"""Settings of a scene on disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, WrapValidator

from qnerf.settings import Settings

Detail = Literal["bones", "joints", "ends", "box", "loose_depth"]  # how much of the 3-D proxy is drawn
# Also the drawings that foreign ControlNets were trained on, and the user's own. auto: the one that the
# ControlNet knows.
Drawing = Literal["auto", "bones", "joints", "ends", "box", "loose_depth", "openpose", "depth", "images"]
Vector = tuple[float, float, float]


def size_of(expected: str) -> WrapValidator:
    """One sentence for whatever is wrong with a size; a square as its side alone, so that both ways of writing it are one run."""

    def check(value: Any, read: Callable[[Any], int | tuple[int, int]]) -> int | tuple[int, int]:
        try:
            size = read(value)
        except ValidationError:
            raise ValueError(f"got {value}; expected {expected}, or two such numbers, [width,height]") from None
        return size[0] if isinstance(size, tuple) and size[0] == size[1] else size

    return WrapValidator(check)


Side = Annotated[int, Field(ge=32, le=2048, multiple_of=8)]
Size = Annotated[Side | tuple[Side, Side], size_of("a multiple of 8 from 32 to 2048")]
"""Pixels: the side of a square, or width and height."""


def width_height(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def written(size: int | tuple[int, int]) -> str:
    """A size as it is given on the command line."""
    return str(size) if isinstance(size, int) else f"[{size[0]},{size[1]}]"


CHOSEN_VIEWS = re.compile(r"(every|farthest):([1-9][0-9]{0,5})")
EXPECTED_VIEWS = "a whole number from 2, every:<k>, farthest:<n> with n from 2, or a list of two or more different names of views"


def _checked_views(value: Any) -> int | str | tuple[str, ...] | None:
    """One sentence for whatever is wrong. Names as a sorted tuple, since views keep the capture's order however they are listed."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 2):
        return value
    if isinstance(value, str) and re.fullmatch("[0-9]{1,6}", value) and int(value) >= 2:
        return int(value)
    if isinstance(value, str) and (found := CHOSEN_VIEWS.fullmatch(value)) and (found[1] == "every" or int(found[2]) >= 2):
        return value
    if isinstance(value, list | tuple) and all(isinstance(name, str | int) and not isinstance(name, bool) for name in value):
        names = sorted({str(name) for name in value})
        if len(names) == len(value) >= 2 and all(names):
            return tuple(names)
    raise ValueError(f"got {value!r}; expected {EXPECTED_VIEWS}")


Views = Annotated[int | str | tuple[str, ...] | None, BeforeValidator(_checked_views)]
"""How the views are chosen; None: all images."""


class SceneSettings(Settings):
    """A folder of posed images, for example of nerfstudio, with proxy.json and truth/ if there are any."""

    name: Literal["folder"] = "folder"
    # The folder with the images and their poses (transforms.json); `asset:<name>` is a scene shipped with the
    # package, `procedural:<kind>_<seed>` one that is rendered when it is first used.
    path: str = Field(min_length=1)
    # The format of the folder (qnerf.scenes.readers); null: detected.
    reader: str | None = None
    # What the views show, and what the edited views shall show; null: the prompts in the folder.
    source_prompt: str | None = None
    target_prompt: str | None = None
    # File of the 3-D proxy before and after the edit; null: the folder's proxy.json. With another file the
    # edit is another one, and the true views in the folder are not used.
    proxy: str | None = None
    # Side of the square views, or their width and height, pixels.
    size: Size = 128
    # Which views to use. A number: so many, spread evenly over the folder; every:<k>: each k-th, from the first on;
    # farthest:<n>: n that look from directions far apart; [name, …]: these; null: all.
    views: Views = None
    # True: cut the largest piece of the views' proportions out of each image, the middle or, of a capture, moved to what the
    # edit moves; false: scale the whole image to the size.
    crop: bool = True
    # The point that the cameras look at, and half the size of the region of interest around it, world units.
    # Null: from the folder, or the point nearest to all optical axes and half the median camera distance to
    # it.
    focus: Vector | None = None
    radius: Annotated[float, Field(gt=0)] | None = None
    # The axes of the cameras in transforms.json: opengl (a camera looks along -z, y is up) or opencv (along
    # z, y is down).
    # Null: opengl, and poses that look like another convention's are refused.
    axes: Literal["opengl", "opencv"] | None = None
