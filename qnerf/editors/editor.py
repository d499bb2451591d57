"""What an editor is: its settings, the additions that it may have, and what it does at each denoising step of the edited views
(docs/method.md §4). Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from qnerf.editors.base import AdditionSettings, Part, PartSettings
from qnerf.variants import union

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.denoising.edit import EditBranch

    AnyAddition: TypeAlias = AdditionSettings
else:
    AnyAddition = union("editors.additions")


class EditorSettings(PartSettings):
    """guidance_scale: γ of the edit; None: the scale that the inversion's prompts were optimised for, if
    any, else 1. At 1 there is no unconditional pass. control_guidance: how far the noise is pushed away
    from what the source's control would predict, s in ε + (s - 1)(ε - ε(source control)) (ours); 1
    leaves that pass out.
    keep_background: outside the object's region, before and after the edit, latents stay those of the
    source (ours).
    source: what an editor reads that reads another branch: the "source" views' inversion, or that of the
    "posed" views (ours, docs/method.md §7), under the target's prompt and control.
    additions: editors that go over this one, by their names.
    """

    control_guidance: float = Field(default=1.0, ge=1)
    guidance_scale: float | None = Field(default=None, ge=1)
    keep_background: bool = True
    source: Literal["source", "posed"] = "source"
    additions: dict[str, AnyAddition] = Field(default_factory=dict)

    @field_validator("additions")
    @classmethod
    def _are_named(cls, additions: dict[str, AdditionSettings]) -> dict[str, AdditionSettings]:
        for key, addition in additions.items():
            if key != addition.name:
                raise ValueError(f"{key} is named {addition.name!r}; expected the same name: rename the key")
        return additions

    @model_serializer(mode="wrap")
    def _without_empty_additions(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """No additions are no part of a run."""
        plain = serialize(self)
        return plain if self.additions else {key: value for key, value in plain.items() if key != "additions"}

    @property
    def parts(self) -> tuple[PartSettings, ...]:
        """This editor and its additions."""
        return (self, *self.additions.values())

    def total(self, of: Callable[[PartSettings], float]) -> float:
        """The sum over this editor and its additions."""
        return sum(of(part) for part in self.parts)

    def reads_posed(self, steps: int) -> bool:
        """Whether it reads the posed branch in an edit of so many steps."""
        return self.source == "posed" and self.total(lambda part: part.source_passes(steps)) > 0

    def build(self) -> Editor:
        raise NotImplementedError

    def counted(self, steps: int) -> dict[str, Any]:
        """The settings that can change the result of an edit of so many steps, as plain data."""
        silent = self.without_effect(steps) | (set() if self.total(lambda part: part.source_passes(steps)) else {"source"})
        plain = self.model_dump(mode="json", exclude=silent)
        for name, addition in self.additions.items():
            plain["additions"][name] = addition.model_dump(mode="json", exclude=addition.without_effect(steps))
        return plain


class Editor(Part):
    """One way to edit. By default only the target's prompt and control have an effect.

    joint: every step needs all views (`gather`), so that all views take a step before any takes the
    next. How views are grouped then is the editor's own and part of its settings, and so of every identity.
    """

    joint = False

    def __init__(self, settings: EditorSettings) -> None:
        super().__init__(settings)
        self.settings = settings

    def null_text(self, branch: EditBranch, k: int) -> Tensor:
        """The states (V, L, C) of the prompt that the edit is guided away from at step k: the source's ∅."""
        return branch.source.null_text(k)

    def gather(self, k: int, z: Tensor, branches: Callable[[], Iterator[tuple[EditBranch, Tensor]]]) -> None:
        """Joint editors: look at all views before any takes step k, by passes that are no steps (`branch.noise`, whose edits are
        this editor's own and a recorder behind them). Called again where guidance has pulled the latents within the step.

        z: (N, 4, h, w). branches(): one chunk after the other, with its latents on the device; as often as it is called. Keys and
        values of the source that are kept beyond a chunk are to be copied: the cache reuses their memory.
        """
