"""What an inversion is: its settings, and what it makes of the source branch (docs/method.md §3). Needs no
torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnerf.variants import Variant

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.backbones.diffusion import DiffusionBackbone
    from qnerf.denoising.ddim import Trajectory
    from qnerf.denoising.source import SourceBranch


class InversionSettings(Variant):
    """warn_below_psnr: PSNR, dB, of a view's reconstruction below which the run warns."""

    warn_below_psnr: float = 22.0

    @property
    def reconstruction_scale(self) -> float:
        """γ at which the inversion claims to reconstruct."""
        return 1.0

    @property
    def required_scale(self) -> float | None:
        """γ that an edit must use, because the prompts were optimised for it; None: any."""
        return None

    @property
    def edit_scale(self) -> float | None:
        """γ of an edit whose editor sets none; None: 1."""
        return self.required_scale

    @property
    def skipped(self) -> float:
        """The share of the steps that an edit leaves out, unless its schedule says how many: it starts from a later state."""
        return 0.0

    @property
    def needs_guidance(self) -> bool:
        """Whether what it does to an edit has no effect at γ = 1."""
        return False

    @property
    def adds_noise(self) -> bool:
        """Whether every step adds noise that the inversion has found for this view (η = 1)."""
        return False

    @property
    def shared_key(self) -> str | None:
        """The key by which views share what is optimised, or None. It asks for views of one scene."""
        return None

    def passes(self, steps: int) -> int:
        """U-Net passes of one view to invert it in `steps` steps, without its reconstruction; a backward
        pass counts as two."""
        return steps

    def reconstruction_passes(self, steps: int) -> int:
        """U-Net passes of one view to denoise it without an edit."""
        return steps * (1 if self.reconstruction_scale == 1.0 else 2)

    def build(self) -> Inversion:
        raise NotImplementedError


class Inversion:
    """One way to invert views to noise. By default the source branch uses its own prompt and the model is
    not changed.

    joint: all views are inverted together, for any chunk size, because they share what is optimised.
    """

    joint = False

    def __init__(self, settings: InversionSettings) -> None:
        self.settings = settings

    def text(self, branch: SourceBranch) -> Tensor:
        """The prompt of the source branch's conditional pass, (N, L, C)."""
        return branch.conditioning.text

    def edits(self, backbone: DiffusionBackbone) -> Edits:
        """The edits of the model in every pass of the source branch."""
        from qnerf.attention.hooks import Edits

        return Edits()

    def auxiliary_edits(self, backbone: DiffusionBackbone) -> Edits:
        """The edits of the model in the passes of the auxiliary branch, beside those of the source branch."""
        from qnerf.attention.hooks import Edits

        return Edits()

    def guided(self, null: Tensor, conditional: Tensor, scale: float) -> Tensor:
        """The noise of an edit's step under guidance, from its predictions (V, 4, h, w) under ∅ and under the target's prompt."""
        from qnerf.denoising.combination import guided_noise

        return guided_noise(null, conditional, scale)

    def revise(self, clean: Tensor, null: Tensor, conditional: Tensor, source: Tensor, time: int) -> Tensor:
        """What an edit under guidance uses in the place of its predicted clean latents (V, 4, h, w). null, conditional: the
        step's predictions. source: the view's own clean latents. time: of the step."""
        return clean

    def invert(self, branch: SourceBranch, clean: Tensor) -> Trajectory:
        """From clean latents (N, 4, h, w) of the branch's views to their trajectory."""
        raise NotImplementedError
