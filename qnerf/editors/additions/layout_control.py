"""Layout control (Chen et al., WACV 2024), over any editor: a word's attention is drawn into its box."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from qnerf.backbones.words import word_problem
from qnerf.editors.base import AdditionSettings, Part
from qnerf.editors.descent import GRADIENT_PASSES, added_words_problem, descend, target_words
from qnerf.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.attention.layers import AttentionLayer
    from qnerf.denoising.edit import EditBranch

Box = tuple[float, float, float, float]
BOXES = "editor.additions.layout_control.boxes"


class LayoutControlSettings(AdditionSettings):
    """boxes: by word of the target's prompt its box in every view: left, top, right, bottom as shares of the picture; null: the
    object's region in each view. None: the words that the source's prompt has not, in the object's region. weight: of the energy.
    until: share of the steps after which it ends. iterations: gradient steps at each, until the energy is at most `enough`.
    """

    name: Literal["layout_control"]
    boxes: dict[str, Box | None] = Field(default_factory=dict)
    weight: float = Field(default=30.0, gt=0)
    until: float = Field(default=10 / 51, ge=0, le=1)
    iterations: int = Field(default=5, ge=1)
    enough: float = Field(default=0.2, ge=0)

    @field_validator("boxes")
    @classmethod
    def _are_boxes(cls, boxes: dict[str, Box | None]) -> dict[str, Box | None]:
        for word, box in boxes.items():
            if box is not None and not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
                raise ValueError(
                    f"the box of {word} is {list(box)}; expected [left, top, right, bottom], rising shares from 0 to 1"
                )
        return boxes

    def own_passes(self, steps: int) -> int:
        return GRADIENT_PASSES * self.iterations * round(self.until * steps)

    @property
    def region_key(self) -> str | None:
        return None if self.boxes and all(self.boxes.values()) else BOXES

    def problem(self, source_prompt: str, target_prompt: str) -> str | None:
        if self.boxes:
            return word_problem(BOXES, self.boxes, target_prompt)
        return added_words_problem(BOXES, (), source_prompt, target_prompt)

    def acts(self, first: int, steps: int) -> bool:
        return first < round(self.until * steps)

    def build(self) -> LayoutControl:
        return LayoutControl(self)


class LayoutControl(Part):
    settings: LayoutControlSettings
    pulls = True

    def pull(self, branch: EditBranch, z: Tensor, k: int) -> Tensor:
        """z - σ² weight ∇E. The authors' latents are x = z / √ā, of the noise level σ / √ā; their step is this level squared times
        the gradient with respect to x, which of z is this one."""
        s = self.settings
        if k >= round(s.until * len(branch.steps)):
            return z
        rate = s.weight * branch.steps.sigma[k] ** 2
        return descend(branch, z, k, OutsideBoxes(branch, self.settings), rate, s.iterations, above=s.enough)


class OutsideBoxes:
    """E: the mean over words, their tokens, layers and heads of (1 - the share of the token's map inside the box)², in the middle
    and the decoder's first layers with a prompt."""

    def __init__(self, branch: EditBranch, settings: LayoutControlSettings) -> None:
        from qnerf.attention.maps import RecordMaps

        self.branch, self.settings, self.record = branch, settings, RecordMaps()
        cross = branch.backbone.cross_attention_layers
        first = next(layer for layer in cross if layer.path.startswith("up_blocks")).path.split(".attentions")[0]
        self.layers = tuple(layer for layer in cross if layer.path.startswith(("mid_block", f"{first}.")))
        for word, box in settings.boxes.items():
            if box is not None and not any(self._inside(layer, box).any() for layer in self.layers):
                raise UserError(
                    f"{BOXES}: the box of {word}, {list(box)}, has no token of this model's maps inside; expected a larger one: "
                    f"maps of {' and '.join(sorted({_size(layer, branch) for layer in self.layers}))} tokens are drawn into it"
                )

    def edits(self) -> Edits:
        from qnerf.attention.hooks import Edits

        return Edits.at(self.layers, self.record)

    def value(self) -> Tensor:
        """(V,)."""
        import torch

        given, found = self.settings.boxes, []
        for words, box in [((word,), box) for word, box in given.items()] or [((), None)]:
            weights = target_words(self.branch, words)
            for layer in self.layers:
                maps = self.record.maps[layer]
                inside = self._inside(layer, box).to(maps)[:, None, :, None]
                outside = (1 - (maps * inside).sum(dim=2) / maps.sum(dim=2)).square().mean(dim=1)
                found.append((outside * weights.to(maps)).sum(dim=1) / weights.sum(dim=1).clamp_min(1).to(maps))
        return torch.stack(found).mean(dim=0)

    def _inside(self, layer: AttentionLayer, box: Box | None) -> Tensor:
        """(V, n), 0 or 1."""
        import torch

        from qnerf.scenes.region import tokens_inside

        rows, columns = layer.token_grid(self.branch.backbone.latent_size)
        if box is None:
            return tokens_inside(self.branch.region.object, rows, columns).flatten(1).float()
        mask = torch.zeros(len(self.branch.conditioning), rows, columns)
        mask[:, int(box[1] * rows) : int(box[3] * rows), int(box[0] * columns) : int(box[2] * columns)] = 1
        return mask.flatten(1)


def _size(layer: AttentionLayer, branch: EditBranch) -> str:
    return "{} x {}".format(*layer.token_grid(branch.backbone.latent_size))
