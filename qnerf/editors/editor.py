"""What an editor is: its settings, and what it does at each denoising step of the edited views (docs/method.md
§4). Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.variants import Variant

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.denoising.edit import EditBranch, EditStep


class EditorSettings(Variant):
    """guidance_scale: γ of the edit; None: the scale that the inversion's prompts were optimised for, if
    any, else 1. At 1 there is no unconditional pass. control_guidance: how far the noise is pushed away
    from what the source's control would predict, s in ε + (s - 1)(ε - ε(source control)) (ours); 1
    leaves that pass out.
    keep_background: outside the object's region, before and after the edit, latents stay those of the
    source (ours).
    source: what an editor reads that reads another branch: the "source" views' inversion, or that of the
    "posed" views (ours, docs/method.md §7), under the target's prompt and control.
    """

    control_guidance: float = Field(default=1.0, ge=1)
    guidance_scale: float | None = Field(default=None, ge=1)
    keep_background: bool = True
    source: Literal["source", "posed"] = "source"

    @property
    def cache_gib(self) -> float:
        """Memory, GiB, for values of the source branch that are kept between visits of a step."""
        return 0.0

    def source_passes(self, steps: int) -> int:
        """U-Net passes of the source branch, per view, that the edit needs in addition to its own, the
        first time that it goes through the steps."""
        return 0

    def reads_posed(self, steps: int) -> bool:
        """Whether it reads the posed branch in an edit of so many steps."""
        return self.source == "posed" and self.source_passes(steps) > 0

    def source_bytes(self, steps: int, layer_bytes: float) -> float:
        """Bytes of the cache for one view; layer_bytes: keys and values of all layers in one step."""
        return 0.0

    def build(self) -> Editor:
        raise NotImplementedError


class Editor:
    """One way to edit. By default only the target's prompt and control have an effect.

    joint: every step needs all views (`gather`), so that all views take a step before any takes the
    next. How views are grouped then is the editor's own and part of its settings, and so of every identity; the chunk size never
    changes a result: what is kept of views is kept by their numbers (`EditStep.views`), never by chunk.
    """

    joint = False

    def __init__(self, settings: EditorSettings) -> None:
        self.settings = settings

    def gather(self, k: int, z: Tensor, branches: Callable[[], Iterator[tuple[EditBranch, Tensor]]]) -> None:
        """Joint editors: look at all views before any takes step k, by passes that are no steps (`branch.noise`, whose edits are
        this editor's own and a recorder behind them). Called again where guidance has pulled the latents within the step.

        z: (N, 4, h, w). branches(): one chunk after the other, with its latents on the device; as often as it is called. Keys and
        values of the source that are kept beyond a chunk are to be copied: the cache reuses their memory.
        """

    def edits(self, step: EditStep) -> Edits:
        """The edits of the model in a step of some views."""
        from qnerf.attention.hooks import Edits

        return Edits()

    def revise(self, step: EditStep, clean: Tensor) -> Tensor:
        """What is used in the place of the predicted clean latents ẑ0 (V, 4, h, w)."""
        return clean

    def blend(self, step: EditStep, z: Tensor) -> Tensor:
        """What is used in the place of the latents (V, 4, h, w) after the step."""
        return z

    def state(self) -> dict[str, Tensor]:
        """What is carried from step to step, of all views: kept with each finished interval, so that a
        broken edit goes on. What a step gathers for itself alone is none of it."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a state: what `state` gave at that step, in the host's memory, or {} at the first. Its tensors are
        the editor's own."""
