"""What every schedule works on: one scene, inverted, with its controls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qnerf.attention.layers import AttentionLayer
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.process import Steps
from qnerf.backbones.words import Prompts
from qnerf.common.finite import FiniteWatch
from qnerf.denoising.ddim import Trajectory
from qnerf.denoising.edit import EditBranch, unseen
from qnerf.denoising.source import SourceBranch, SourceReader
from qnerf.denoising.source_cache import SourceCache
from qnerf.denoising.views import chunks
from qnerf.devices import HOST
from qnerf.errors import UserError
from qnerf.fields.settings import FieldSettings, RgbFieldSettings
from qnerf.fields.space import Space
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.region import EditedRegion

if TYPE_CHECKING:
    from qnerf.editors.editor import Editor


@dataclass(frozen=True)
class Posed:
    """The scene after the edit as the source views show it: renderings of their radiance field, posed (docs/method.md
    §7).

    images: (N, 3, H, W) in [0, 1]. trust: (N, H, W), 0 to 1: how far each pixel of them is to be believed. changed:
    (N, H, W), 0 to 1: the share of it that a moved part covers before or after the edit; moved: after it. trajectory:
    their inversion under the target's prompt and control, and branch: its predictor of some of the views; None where
    no method follows it. All of them lie in the host's memory.
    """

    images: Tensor
    trust: Tensor
    changed: Tensor
    moved: Tensor
    trajectory: Trajectory | None = None
    branch: Callable[[slice], SourceBranch] | None = None

    def inverted(self) -> tuple[Trajectory, Callable[[slice], SourceBranch]]:
        """The trajectory and its predictor, where a method has asked for them."""
        assert self.trajectory is not None
        assert self.branch is not None
        return self.trajectory, self.branch


@dataclass(frozen=True)
class EditJob:
    """Everything that the methods of a run share. Trajectories lie in the host's memory, and so do the
    latents and queries of all views that schedules make of them; all else lies on the device.

    on_work(kind, amount) reports finished work: kind "unet" counts U-Net passes of one view (a backward
    pass counts two), "field" counts query fields trained (a warm start as the share of the iterations
    that it takes), "feedback" radiance fields. on_more(work) reports units by kind that were not planned.
    on_loss(kind, loss) reports the loss of a field that is being trained,
    on_field(step, r2) what one explains, as soon as it is trained. on_clean(latents, k): the clean latents (V, 4, h, w) that the
    first chunk of views implies at step k of the edit, look-aheads not among them. on_disagreement(value, k): how far the
    queries of that chunk are from those that guide step k (`targets.disagreement`); None: it is not measured.
    target: the prompt and control of the edit, of all views. guidance_scale: γ of the edit.
    region: at the latents' size. oracle: the true edited views' trajectory, where the truth is known.
    posed: where a method reads the posed views.
    target_depth: (N, H, W) distance to what bounds the edited object, world units, inf beside it, where
    `field.depth_weight` or the schedule asks for it. method, view_names: for errors; without names views
    are numbered. prompts: of each view as they were written, for editors that look for words.
    """

    backbone: DiffusionBackbone
    steps: Steps
    trajectory: Trajectory
    source: Callable[[slice], SourceBranch]
    target: Conditioning
    region: EditedRegion
    editor: Editor
    guidance_scale: float
    cameras: Cameras
    space: Space
    field: FieldSettings
    rgb_field: RgbFieldSettings
    seed: int
    chunk_size: int
    oracle: Trajectory | None = None
    posed: Posed | None = None
    target_depth: Tensor | None = None
    on_work: Callable[[str, float], None] = lambda kind, amount: None
    on_more: Callable[[Mapping[str, float]], None] = lambda work: None
    on_loss: Callable[[str, float], None] = lambda kind, loss: None
    on_field: Callable[[int, Mapping[str, float]], None] = lambda step, r2: None
    on_clean: Callable[[Tensor, int], None] = unseen
    on_disagreement: Callable[[float, int], None] | None = None
    source_cache: SourceCache = dataclasses.field(default_factory=SourceCache)
    method: str = ""
    view_names: Sequence[str] = ()
    prompts: tuple[Prompts, ...] = ()

    def trained(self, kind: str, amount: float, loss: float) -> None:
        """Reports a step of a field's training: the work, and the loss."""
        self.on_loss(kind, loss)
        self.on_work(kind, amount)

    @property
    def views(self) -> int:
        return len(self.cameras)

    @property
    def device(self) -> torch.device:
        """Where a chunk of views is denoised, and fields are trained."""
        return self.backbone.device

    def chunks(self) -> Iterator[slice]:
        """Slices of views that are denoised together."""
        return chunks(self.views, self.chunk_size)

    def branch(self, views: slice) -> EditBranch:
        """The edit's noise predictor for some of the views."""
        trajectory = self.trajectory.views(views).to(self.device)
        return EditBranch(
            backbone=self.backbone,
            steps=self.steps,
            editor=self.editor,
            source=SourceReader(self.source(views), trajectory, self.source_cache, key=(views.start, views.stop)),
            reads=self._posed_reader(views) if self.editor.settings.reads_posed(len(self.steps)) else None,
            views=views,
            all_views=self.views,
            conditioning=self.target.views(views),
            guidance_scale=self.guidance_scale,
            region=self.region.views(views),
            prompts=self.prompts[views],
            on_clean=self.on_clean if views.start == 0 else unseen,
            on_disagreement=self.on_disagreement if views.start == 0 else None,
        )

    def _posed_reader(self, views: slice) -> SourceReader:
        """Reads the posed views' passes in the place of the source's."""
        trajectory, branch = self.needed_posed().inverted()
        return SourceReader(
            branch(views), trajectory.views(views).to(self.device), self.source_cache, key=("posed", views.start, views.stop)
        )

    def needed_posed(self) -> Posed:
        """The posed views. Raises UserError where the job was made without them."""
        if self.posed is None:
            raise UserError(
                f"method {self.method or 'full'}: the posed views are missing, which its settings need: pose the scene first"
            )
        return self.posed

    def first_latents(self, start: str, state: int) -> Tensor:
        """Where an edit starts: all views (N, 4, h, w) at a state of the source's inversion, for start "posed" where parts move
        of the posed views' inversion, or for "anchor_warp" of views into which one edited view was carried."""
        if start == "source":
            return self.trajectory.states[state]
        if start == "anchor_warp":
            from qnerf.consolidation.anchored import anchored_latents  # which is made of steps of a job

            return anchored_latents(self, state, "schedule.start")
        trajectory, _ = self.needed_posed().inverted()
        moved = self.region.moved[:, None].to(trajectory.states.device) > 0
        return torch.where(moved, trajectory.states[state], self.trajectory.states[state])

    @property
    def names(self) -> Sequence[str]:
        """Of the views, for errors."""
        return self.view_names or [str(view) for view in range(self.views)]

    def editor_state(self) -> dict[str, Tensor]:
        """A copy of what the editor carries from step to step, in the host's memory: later steps do not change it."""
        return {key: value.detach().to(HOST, copy=True) for key, value in self.editor.state().items()}

    def restore_editor(self, state: dict[str, Tensor]) -> None:
        """Takes the editor back to a state, of which it gets a copy."""
        self.editor.restore({key: value.clone() for key, value in state.items()})

    def watch(self, kind: str) -> FiniteWatch:
        """Looks whether all views stay finite in the steps of an edit. kind: of step, such as "guided"."""
        stage = f"{kind} steps of the edit by method {self.method}" if self.method else f"{kind} steps of the edit"
        return FiniteWatch(stage, self.backbone.dtype, self.views, self.device, self.names)


def layer_grid(backbone: DiffusionBackbone, layer: AttentionLayer) -> tuple[int, int]:
    """Rows and columns of a layer's tokens."""
    return layer.token_grid(backbone.latent_size)
