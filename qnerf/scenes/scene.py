"""What every stage downstream of the disk sees of a scene: posed images, a 3-D proxy and, where known, the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from qnerf.scenes.cameras import Cameras
from qnerf.scenes.photographs import Photograph
from qnerf.scenes.solids import Box, Capsule
from qnerf.scenes.world import UNMOVED, World

State = Literal["source", "target"]  # before and after the edit


@dataclass(frozen=True)
class Bounds:
    """What bounds the object in one state without tracing it, for the loosest controls.

    solids: few inflated capsules and boxes that contain the object. corners: (8, 3) of one box round all of it, in the
    order that `bounds.BOX_EDGES` joins.
    """

    solids: tuple[Capsule | Box, ...]
    corners: Tensor


@dataclass(frozen=True)
class Proxy:
    """The 3-D stand-in that is drawn as a spatial control, before and after the edit.

    kind: "skeleton" (named joints joined by bones) or "box" (8 corners joined by 12 edges).
    joints: J names. bones: pairs of joint indices. source, target: (J, 3) world positions before and after the edit.
    source_bounds, target_bounds: what bounds the object then; None: `bounds.proxy_bounds` makes them from the joints.
    keeps_direction: indices of joints of a skeleton; what is at them goes where they go, and does not turn with their bones.
    """

    kind: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    source: Tensor
    target: Tensor
    source_bounds: Bounds | None = None
    target_bounds: Bounds | None = None
    keeps_direction: tuple[int, ...] = ()


@dataclass(frozen=True)
class Truth:
    """Ground truth of a procedural scene, for N views of H x W pixels. Only metrics and the oracle may look at it.

    edited_images: (N, 3, H, W) in [0, 1]. depth_source, depth_edited: (N, H, W) distance along the ray, infinite where
    there is no surface within range.
    silhouette_source, silhouette_edited: (N, H, W) bool, the whole object.
    moved_edited: (N, H, W) bool, pixels of the *edited* truth that show a part which the edit moved.
    plates: (N, 3, H, W) in [0, 1], the scene without the object (clean plates), where they are known.
    """

    edited_images: Tensor
    depth_source: Tensor
    depth_edited: Tensor
    silhouette_source: Tensor
    silhouette_edited: Tensor
    moved_edited: Tensor
    plates: Tensor | None = None


@dataclass(frozen=True)
class Scene:
    """A capture read from disk. images: (N, 3, H, W) in [0, 1], float32, H and W as the cameras say.

    photographs: of each view, at its own resolution; none where that is the views'. posed: whether the cameras are known; of images
    without, each is edited by itself, cameras and region mean nothing, and there is no proxy. own_prompts: of source and target, by
    view, where views have their own. masks: (N, H, W), 0 or 1, where the edit may be, where that is given.

    valid: (N, H, W) bool, the pixels that count, where the capture leaves some out. depth: (N, H, W), distance along each pixel's
    ray, the scene's units, infinite where it is not known, where the capture has depth. limits: how far off the scene is from its
    cameras at least and at most, the scene's units, as the capture's points or depth show it.

    world: from the scene's coordinates to the capture's own, which differ where those are far from the origin or of another size.

    focus: (3,) the point that the cameras look at; radius: half the size of the region of interest round it, the scene's
    units. Fields map the ball of that radius to the uncontracted unit ball.
    """

    name: str
    view_names: tuple[str, ...]
    images: Tensor
    cameras: Cameras
    source_prompt: str
    target_prompt: str
    focus: Tensor
    radius: float
    proxy: Proxy | None
    truth: Truth | None
    photographs: tuple[Photograph, ...] | None = None
    posed: bool = True
    own_prompts: tuple[tuple[str, str], ...] | None = None
    masks: Tensor | None = None
    world: World = UNMOVED
    valid: Tensor | None = None
    depth: Tensor | None = None
    limits: tuple[float, float] | None = None

    @property
    def prompts(self) -> tuple[tuple[str, str], ...]:
        """Of source and target, by view."""
        return self.own_prompts or ((self.source_prompt, self.target_prompt),) * len(self.view_names)

    @property
    def masked(self) -> bool:
        """Whether each view has a mask that leaves anything out."""
        return self.masks is not None and bool((self.masks.flatten(1).amin(dim=1) == 0).all())

    @property
    def source_prompts(self) -> tuple[str, ...]:
        return tuple(source for source, _ in self.prompts)

    @property
    def target_prompts(self) -> tuple[str, ...]:
        return tuple(target for _, target in self.prompts)
