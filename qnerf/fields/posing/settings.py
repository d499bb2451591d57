"""Settings of posing: how the source's radiance field follows the proxy (docs/method.md, "Posed source field")."""

from typing import Literal

from pydantic import Field

from qnerf.settings import Settings


class PosingSettings(Settings):
    """Lengths are shares of the proxy's extent: the longest side of the box round its joints before and after the edit."""

    parts: Literal["auto", "bones", "solids", "joints"] = "auto"
    """What moves rigidly: each bone; each solid of the proxy's bounds; or nothing, and the whole object deforms smoothly as its
    joints do. auto: joints for a box, and for a skeleton whose moved bounds are all boxes; bones for any other skeleton."""
    refine: float = Field(default=0.06, ge=0, le=0.2)
    """How far the joints of a skeleton that is posed by its bones may be moved so that these run through flesh. 0: not at all,
    nor does their distance from flesh lower trust then."""
    voxels: int = Field(default=96, ge=16, le=512)
    """Cells of the longest side of the grid of labels, which say what part flesh belongs to."""
    reach: float = Field(default=0.5, gt=0)
    """How far from a bone's flesh what hangs on it may be, along dense matter; empty space counts `gap_cost` times."""
    gap_cost: float = Field(default=10.0, ge=1)
    """Cost of a way through empty space, relative to one through dense matter."""
    blend: float = Field(default=1.0, ge=0)
    """Width of the smooth transition between the motions of two parts at their joint, in radii of their flesh; 0: none."""
    relight: bool = True
    """Parts that turn grow brighter and darker as the source's surfaces are by the direction that they face."""
    samples: int = Field(default=96, ge=8)
    """Evaluations of the posed field on a ray, half where the source's density is, half where the posed density is."""
    border: float = Field(default=2.0, ge=0)
    """Pixels over which the posed picture fades into the source picture."""
