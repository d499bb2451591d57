"""A capture's photographs at their own resolution, which are read when they are asked for: all at once may not fit into memory."""

from __future__ import annotations

from dataclasses import dataclass

from qnerf.scenes.capture import View, read_view
from qnerf.scenes.readers.reader import Frame


@dataclass(frozen=True)
class Photograph:
    """What one view of a scene was made of. width, height: pixels. window: left, top, width and height, pixels, of what the view
    shows of it."""

    frame: Frame
    width: int
    height: int
    window: tuple[int, int, int, int]

    def read(self) -> View:
        """The whole photograph without its lens distortion, with intrinsics. Raises UserError where it is no longer there."""
        return read_view(self.frame)
