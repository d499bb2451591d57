"""Settings: which self-attention layers' queries are recorded and consolidated, and what is shown of attention."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from qnerf.settings import Settings

Share = Annotated[float, Field(ge=0, lt=1)]


class RecorderSettings(Settings):
    """A named set of self-attention layers, by index in execution order (SD 1.5: 0-5 encoder, 6 middle, 7-15 decoder)."""

    name: str
    layers: tuple[int, ...] = Field(min_length=1)


class AttentionSettings(Settings):
    """What a run shows of the source views' attention (`+exp=attention`): maps, features and energies, read along the inversion.

    layers: of self-attention, and the cross-attention layers beside them, by index. at: shares of the denoising steps. words: of
    the source's prompt; none: all. views: how many, evenly spread. side: of the grid that maps of more tokens are averaged to.
    """

    layers: tuple[int, ...] = Field(default=(9, 12, 15), min_length=1)
    at: tuple[Share, ...] = Field(default=(0.1, 0.5, 0.9), min_length=1)
    words: tuple[str, ...] = ()
    views: int = Field(default=4, ge=1)
    side: int = Field(default=16, ge=2, le=32)

    def steps(self, count: int) -> tuple[int, ...]:
        """The denoising steps of `count` that are shown, in order."""
        return tuple(sorted({int(share * count) for share in self.at}))

    def memory(self, views: int, layer_bytes: float) -> float:
        """Bytes of maps and features of so many views, at most. layer_bytes: keys and values of all layers in one step."""
        return min(views, self.views) * len(self.at) * (1.5 * layer_bytes + 4 * len(self.layers) * self.side**4)

    def page(self, views: int) -> float:
        """Bytes of the page that shows them, at most: a byte of base64 is three quarters of one."""
        return min(views, self.views) * len(self.at) * len(self.layers) * self.side**4 * 4 / 3
