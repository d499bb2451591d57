"""The embedded model, trained on the puppet world (`python -m qnerf.pretrain`); its weights travel with
the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qnerf.backbones.backbone import GIB, MIB, PARTS, BackboneSettings, PassCosts
from qnerf.common.places import ASSETS
from qnerf.errors import UserError
from qnerf.scenes.settings import Drawing

if TYPE_CHECKING:
    import torch

    from qnerf.backbones.diffusion import DiffusionBackbone

PUPPET_FOLDER = ASSETS / "puppet"
LOOSE_FOLDER = "controlnet_loose"  # its ControlNet for bounds; `controlnet` takes drawings of the pose
DECODER_FOLDER = "decoder"  # decodes in place of the decoder in `vae`, which pipelines of diffusers use


class PuppetSettings(BackboneSettings):
    """path: folder in diffusers' layout that includes a `controlnet` folder; None: the weights inside the
    package."""

    name: Literal["puppet"] = "puppet"
    path: str | None = None

    @property
    def own_world(self) -> bool:
        return True

    @property
    def downsampling(self) -> int:
        return 4

    @property
    def folder(self) -> Path:
        return Path(self.path).expanduser() if self.path else PUPPET_FOLDER

    def pixels(self) -> int | None:
        path = self.folder / "vae" / "config.json"
        return int(json.loads(path.read_text(encoding="utf-8"))["sample_size"]) if path.is_file() else None

    def weights(self) -> list[Path] | None:
        if not (self.folder / "unet" / "config.json").is_file():
            return None
        return [self.folder / part for part in (*PARTS, "controlnet", LOOSE_FOLDER, DECODER_FOLDER)]

    def control_problems(self, drawing: Drawing) -> list[str]:
        if drawing not in ("openpose", "depth"):
            return []
        return [
            f"control.detail: got {drawing}, but the embedded model's ControlNets read bones, joints, ends, loose_depth and box; "
            "choose one of these, or backbone=sd15 with a ControlNet for it"
        ]

    def costs(self, width: int, height: int, device: str = "cpu") -> PassCosts:
        """Measured: 1.43 GiB for the demo, 0.98 for +exp=smoke, 0.83 with chunk_size=1."""
        return PassCosts(slowness=1.0, process=0.75 * GIB, view=0.05 * GIB, keys=1.4 * MIB, queries=0.64 * MIB)

    def build(self, device: torch.device | str = "cpu") -> DiffusionBackbone:
        from qnerf.backbones.diffusion import DiffusionBackbone
        from qnerf.backbones.load import load_parts
        from qnerf.backbones.revision import check_seal, weights_revision

        if self.weights() is None:
            raise UserError(
                f"{self.folder} does not hold the embedded backbone's weights: reinstall the package, "
                "train them with `python -m qnerf.pretrain`, or give their folder with backbone.path=…"
            )
        revision = weights_revision(self)
        check_seal(self.folder, revision)
        extras = [self.folder / name for name in (LOOSE_FOLDER, DECODER_FOLDER)]
        loose, decoder = (folder if folder.is_dir() else None for folder in extras)
        parts = load_parts(self.folder, self.folder / "controlnet", self.dtype, loose, decoder)
        size = parts.vae.config["sample_size"]
        return DiffusionBackbone(parts, (size, size), revision or "unknown", device, self.channels_last, self.acceleration)
