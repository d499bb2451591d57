"""What editors and additions to them consist of: settings that plans can ask, and a `Part`, which acts at each denoising step of
the edited views (docs/method.md §4). Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qnerf.variants import Variant

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.denoising.edit import EditBranch, EditStep

SourceText = Literal["empty", "source"]
"""The prompt under which the source branch is read: the null prompt or the inversion's own."""


class PartSettings(Variant):
    """What plans and checks ask of an editor, or of an addition to one."""

    @property
    def cache_gib(self) -> float:
        """Memory, GiB, for values of the source branch that are kept between visits of a step."""
        return 0.0

    def source_passes(self, steps: int) -> int:
        """U-Net passes of the source branch, per view, that the edit needs in addition to its own, the
        first time that it goes through the steps."""
        return 0

    def own_passes(self, steps: int) -> int:
        """U-Net passes of the edited views, per view, beside those that take the steps, at most; a backward pass counts as two."""
        return 0

    def source_bytes(self, steps: int, layer_bytes: float) -> float:
        """Bytes of the cache for one view; layer_bytes: keys and values of all layers in one step."""
        return 0.0

    def without_effect(self, steps: int) -> set[str]:
        """Keys that have no effect in an edit of so many steps, beside those of the others' values."""
        return set()

    def acts(self, first: int, steps: int) -> bool:
        """Whether it changes anything in an edit of so many steps that begins at state `first`."""
        return True

    @property
    def named_layers(self) -> dict[str, tuple[int, ...]]:
        """Self-attention layers that settings name by their indices, by key: the model must have them."""
        return {}

    @property
    def region_key(self) -> str | None:
        """The key by which it reads the object's region, or None. Images that have neither proxy nor mask have no region."""
        return None

    @property
    def draws_start(self) -> bool:
        """Whether the edit starts from noise that it draws itself, whatever state it is given."""
        return False

    def problem(self, source_prompt: str, target_prompt: str) -> str | None:
        """Why it cannot edit between these prompts, one sentence that begins with its key, or None."""
        return None

    def build(self) -> Part:
        raise NotImplementedError


class AdditionSettings(PartSettings):
    """An editor that goes over any other: `editor=[masactrl,adaptive_mask]`; by itself, over `plain`. Its file in conf/editor/
    has its keys under `editor.additions.<name>`. One that has no guidance scale, control or background of its own."""


class Part:
    """What acts at each denoising step: an editor, or an addition to one. By default it changes nothing.

    The chunk size never changes a result: what is kept of views is kept by their numbers (`EditStep.views`), never by chunk.
    pulls: whether it moves the latents before a step (`pull`).
    """

    pulls = False

    def __init__(self, settings: PartSettings) -> None:
        self.settings = settings

    def first_step(self, steps: int) -> int:
        """The first of the steps that is taken; latents stay as they are before it."""
        return 0

    def sees(self, step: EditStep) -> EditStep:
        """What the editor that this one is an addition to sees of the step."""
        return step

    def pull(self, branch: EditBranch, z: Tensor, k: int) -> Tensor:
        """What is used in the place of the latents (V, 4, h, w) before step k, after guidance has pulled them."""
        return z

    def edits(self, step: EditStep) -> Edits:
        """The edits of the model in a step of some views."""
        from qnerf.attention.hooks import Edits

        return Edits()

    def steer(self, step: EditStep, noise: Tensor) -> Tensor:
        """What is used in the place of the step's combined noise ε̂ (V, 4, h, w)."""
        return noise

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
