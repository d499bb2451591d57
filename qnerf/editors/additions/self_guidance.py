"""Self-guidance (Epstein et al., NeurIPS 2023), over any editor: where an object is, how large, of what shape and look, by its
cross-attention maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.backbones.words import word_problem, word_weights
from qnerf.editors.base import AdditionSettings, Part
from qnerf.editors.descent import GRADIENT_PASSES

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.denoising.edit import EditBranch, EditStep

    Features = Mapping[str, Tensor]


class SelfGuidanceSettings(AdditionSettings):
    """words: the object's, in both prompts. position, size, shape, appearance: weights of the four distances
    to the source; 0 leaves one out. shift: by which shares of the picture, to the right and down, the object
    is to move. scale: how many times as large its area is to be. weight: v of ε̂ + v σ ∇E. until: share of
    the steps after which it ends.
    """

    name: Literal["self_guidance"]
    words: tuple[str, ...] = ()
    position: float = Field(default=1.0, ge=0)
    size: float = Field(default=1.0, ge=0)
    shape: float = Field(default=0.0, ge=0)
    appearance: float = Field(default=0.0, ge=0)
    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = Field(default=1.0, gt=0)
    weight: float = Field(default=1000.0, ge=0)
    until: float = Field(default=3 / 16, ge=0, le=1)

    def source_passes(self, steps: int) -> int:
        return round(self.until * steps)

    def own_passes(self, steps: int) -> int:
        return GRADIENT_PASSES * round(self.until * steps)

    def problem(self, source_prompt: str, target_prompt: str) -> str | None:
        key = "editor.additions.self_guidance.words"
        if not self.words:
            return f"{key}: none given; expected the words of the object, of both prompts: {key}=[figure]"
        return word_problem(key, self.words, source_prompt) or word_problem(key, self.words, target_prompt)

    def acts(self, first: int, steps: int) -> bool:
        return first < round(self.until * steps)

    def build(self) -> SelfGuidance:
        return SelfGuidance(self)


class SelfGuidance(Part):
    settings: SelfGuidanceSettings
    pulls = True

    def __init__(self, settings: SelfGuidanceSettings) -> None:
        super().__init__(settings)
        self._gradients: dict[tuple[int, int, int], Tensor] = {}

    def pull(self, branch: EditBranch, z: Tensor, k: int) -> Tensor:
        """Latents stay; the gradient at them is for `steer`."""
        from qnerf.denoising.energy import energy_gradient

        if k < round(self.settings.until * len(branch.steps)):
            gradient = energy_gradient(branch, z, k, ObjectMoved(branch, k, self.settings))
            self._gradients[branch.views.start, branch.views.stop, k] = gradient
        return z

    def steer(self, step: EditStep, noise: Tensor) -> Tensor:
        """ε̂ + v σ ∇E."""
        gradient = self._gradients.pop((step.views.start, step.views.stop, step.k), None)
        return noise if gradient is None else noise + self.settings.weight * step.steps.sigma[step.k] * gradient


class ObjectMoved:
    """E: the weighted distances of the edit's features of an object to those of the source, which are moved and scaled."""

    def __init__(self, branch: EditBranch, k: int, settings: SelfGuidanceSettings) -> None:
        from qnerf.attention.hooks import CONDITIONAL

        self.settings = settings
        prompts = ([getattr(each, side) for each in branch.prompts] for side in ("target", "source"))
        self.target, source = (_Seen(branch, some, settings.words) for some in prompts)
        (branch.reads or branch.source).read(k, [CONDITIONAL], source.edits())
        self.source = source.features()

    def edits(self) -> Edits:
        return self.target.edits()

    def value(self) -> Tensor:
        """(V,): mean absolute differences of each feature, over layers, axes, places and channels."""
        import torch

        s, found = self.settings, self.target.features()
        wanted = dict(self.source)
        wanted["position"] = wanted["position"] + torch.tensor(s.shift).to(wanted["position"])
        wanted["size"] = s.scale * wanted["size"]
        each = [getattr(s, name) * (x - wanted[name]).abs().flatten(1).mean(dim=1) for name, x in found.items()]
        return torch.stack(each).sum(dim=0)


class _Seen:
    """An object in one pass."""

    def __init__(self, branch: EditBranch, prompts: list[str], words: tuple[str, ...]) -> None:
        from qnerf.attention.maps import KeepOutput, RecordMaps

        model = branch.backbone
        self.layers = tuple(layer for layer in model.cross_attention_layers if layer.path.startswith("up_blocks"))
        length = branch.conditioning.text.shape[1]
        self.words = word_weights(model.tokenizer, prompts, [words] * len(prompts), length)
        self.size, self.block = model.latent_size, self.layers[-1].path.split(".attentions")[0]
        self.record, self.output = RecordMaps(), KeepOutput()

    def edits(self) -> Edits:
        from qnerf.attention.hooks import Edits

        return Edits.at(self.layers, self.record) | Edits(features={self.block: (self.output,)})

    def features(self) -> Features:
        """position (V, layers, 2), size (V, layers), shape (V, places of all layers), appearance (V, channels)."""
        import torch

        from qnerf.attention.maps import thresholded, word_map

        positions, sizes, shapes = [], [], []
        for layer in self.layers:
            seen = thresholded(word_map(self.record.maps[layer], self.words))
            rows, columns = layer.token_grid(self.size)
            y, x = (torch.arange(n).add(0.5).div(n).to(seen) for n in (rows, columns))
            image, total = seen.unflatten(1, (rows, columns)), seen.sum(dim=1)
            centre = torch.stack([(image.sum(dim=1) * x).sum(dim=1), (image.sum(dim=2) * y).sum(dim=1)], dim=1)
            positions.append(centre / total.clamp_min(1e-12)[:, None])
            sizes.append(seen.mean(dim=1))
            shapes.append(seen)
        finest, output = shapes[-1], self.output.kept[self.block].flatten(2)
        look = (output * finest[:, None]).sum(dim=2) / finest.sum(dim=1).clamp_min(1e-12)[:, None]
        position, size, shape = torch.stack(positions, dim=1), torch.stack(sizes, dim=1), torch.cat(shapes, dim=1)
        return {"position": position, "size": size, "shape": shape, "appearance": look}
