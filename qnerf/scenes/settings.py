"""Settings of a scene on disk."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from qnerf.settings import Settings

Detail = Literal["bones", "joints", "ends", "box", "loose_depth"]  # how much of the 3-D proxy a control shows
Vector = tuple[float, float, float]


class SceneSettings(Settings):
    """A folder of posed images, such as nerfstudio's, and where there are any, proxy.json and truth/."""

    name: Literal["folder"] = "folder"
    # The folder that holds the images and their poses, such as transforms.json; `asset:<name>` is a scene shipped with the package.
    path: str = Field(min_length=1)
    # The format of the folder (qnerf.scenes.readers); null takes the one that is found there.
    reader: str | None = None
    # What the views show, and what the edited views are to show; null takes the folder's own prompts.
    source_prompt: str | None = None
    target_prompt: str | None = None
    # File of the 3-D proxy before and after the edit; null takes the folder's own proxy.json. Another proxy is another edit, of
    # which the folder's truth knows nothing.
    proxy: str | None = None
    # Side of the square images that the backbone sees, pixels.
    size: Annotated[int, Field(ge=32, le=2048, multiple_of=8)] = 128
    # How many views to use, spread evenly over the capture; null uses all of them.
    views: Annotated[int, Field(ge=2)] | None = None
    # Cut the centre square out of images that are not square; false squeezes the whole image into the square.
    crop: bool = True
    # The point that the cameras look at, and half the size of the region of interest round it, world units; null takes
    # the folder's own, or else the point nearest to all optical axes and half the median camera distance to it.
    focus: Vector | None = None
    radius: Annotated[float, Field(gt=0)] | None = None
