"""The fox with its ears turned: the field of its views, how good it is, and the posed views, without the diffusion model.

    python experiments/capture/fox_ears.py <folder of the fox> --picture fox_ears.png

The field is trained on every other view; PSNR is of these and of those between them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from torch import Tensor

from qnerf.config import parse
from qnerf.fields.posing.posed_views import pose_views
from qnerf.fields.source_field import train_source_field
from qnerf.fields.space import Space
from qnerf.run import CONFIGS
from qnerf.scenes.reader import read_scene

PROXY = "asset:fox_ears.json"
SHAPE = (192, 108)  # pixels of a view in the picture, high and wide: the photographs' shape, which crop=false squeezes


def decibels(found: Tensor, truth: Tensor) -> float:
    """The mean over views (N, 3, H, W) of their PSNR."""
    return float((-10 * (found - truth).square().mean(dim=(1, 2, 3)).log10()).mean())


def picture(rows: list[Tensor]) -> Tensor:
    """Rows of views (N, 3, H, W), one under another: (3, H', W')."""
    large = [torch.nn.functional.interpolate(row, size=SHAPE, mode="bicubic").clamp(0, 1) for row in rows]
    return torch.cat([torch.cat(list(row), dim=2) for row in large], dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--views", type=int, default=32, help="of the capture, half of them trained on")
    parser.add_argument("--shown", type=int, nargs="+", default=[0, 3, 4, 5, 6, 12], help="which of these the picture shows")
    parser.add_argument("--picture", type=Path, default=Path("fox_ears.png"))
    parser.add_argument("overrides", nargs="*", help="settings, as of qnerf.run")
    given = parser.parse_intermixed_args()  # settings may stand behind options
    own = ["+exp=capture", f"scene.path={given.folder}", f"scene.proxy={PROXY}", f"scene.views={given.views}", "scene.crop=false"]
    with initialize_config_dir(str(CONFIGS), version_base=None):
        settings = parse(compose("config", overrides=[*own, *given.overrides]))
    scene = read_scene(settings.scene)
    assert scene.proxy is not None  # PROXY
    seen, held_out = list(range(0, given.views, 2)), list(range(1, given.views, 2))
    field = train_source_field(
        scene.images[seen], scene.cameras[seen], Space(scene.focus, scene.radius), settings.source_field, settings.seed, scene.proxy
    )
    for name, views in ("trained on", seen), ("held out", held_out):
        print(f"{name}: {decibels(field.render(scene.cameras[views])[0], scene.images[views]):.2f} dB over {len(views)} views")
    posed = pose_views(field, scene.proxy, scene.cameras[seen], scene.images[seen], settings.posing)
    pixels = picture([scene.images[seen][given.shown], posed.images[given.shown]]).permute(1, 2, 0).mul(255).round().byte().numpy()
    Image.fromarray(pixels).quantize(256).save(given.picture, optimize=True)


if __name__ == "__main__":
    main()
