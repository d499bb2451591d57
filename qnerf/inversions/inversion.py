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

    def invert(self, branch: SourceBranch, clean: Tensor) -> Trajectory:
        """From clean latents (N, 4, h, w) of the branch's views to their trajectory."""
        raise NotImplementedError
