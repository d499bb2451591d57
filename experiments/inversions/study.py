"""How well inversions give images back: PSNR, SSIM and MSE of held-out images of the embedded
model's world (studies U1, U2, J16).

    python -m experiments.inversions.study results    # measures what the folder lacks, image by image
    python -m experiments.inversions.study results --images 4 --rows ddim
    python -m experiments.inversions.study results --table    # the table of what has been measured

Each image is encoded, inverted in 30 steps under its caption (or another prompt) without a control,
and denoised again; the figures are against the autoencoder's own round trip. A row is a way to
invert and the γ of its reconstruction. The folder has results.csv and, in pictures/, each image as
it came back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from experiments.results import adding, command, first_pictured, lacking, picture, read
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.config import parse
from qnerf.denoising.ddim import Trajectory
from qnerf.denoising.source import SourceBranch
from qnerf.evaluate_backbone.views import heldout_views
from qnerf.inversions.inversion import InversionSettings
from qnerf.metrics.fidelity import psnr, ssim
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.run import CONFIGS
from qnerf.scenes.images import read_image, write_image
from qnerf.scenes.settings import width_height

SEED, WORLD, STEPS = 930, 2, 30  # of the held-out samples
STRONG = 7.5
Prompt = Literal["caption", "empty", "wrong"]
Field = Literal["row", "image", "psnr", "ssim", "mse", "inner_steps"]
FIGURES: tuple[Field, ...] = ("psnr", "ssim", "mse")


@dataclass(frozen=True)
class Row:
    """A way to invert, as overrides of a run; the prompt; the γ of the reconstruction (None: the
    inversion's own). few: on the first images alone."""

    inversion: str
    prompt: Prompt = "caption"
    scale: float | None = None
    few: bool = False


ROWS: Mapping[str, Row] = {
    "ddim, γ 1": Row("ddim", scale=1.0),
    "ddim, γ 7.5": Row("ddim", scale=STRONG),
    "ddim, empty prompt": Row("ddim", "empty", 1.0),
    "ddim, wrong prompt, γ 1": Row("ddim", "wrong", 1.0),
    "ddim, wrong prompt, γ 7.5": Row("ddim", "wrong", STRONG),
    "uniform attention": Row("uniform_attention inversion.branches=all", "wrong"),
    "null-text, γ 7.5": Row("null_text"),
    "negative prompt, γ 7.5": Row("negative_prompt"),
    "direct, γ 7.5": Row("direct"),
    "ddpm, γ 7.5": Row("ddpm inversion.guidance_scale=7.5"),
    "ddpm, γ 1": Row("ddpm inversion.guidance_scale=1", few=True),
    "ddim, inverted and denoised at γ 7.5": Row("ddim inversion.guidance_scale=7.5", scale=STRONG, few=True),
    "ddim, inverted at γ 7.5, denoised at 1": Row("ddim inversion.guidance_scale=7.5", scale=1.0, few=True),
    "ddim, asked at the state's own time, γ 1": Row("ddim inversion.time=own", scale=1.0, few=True),
    "ddim, 1 fixed-point iteration, γ 1": Row("ddim inversion.fixed_point=1", scale=1.0, few=True),
    "ddim, 3 fixed-point iterations, γ 1": Row("ddim inversion.fixed_point=3", scale=1.0, few=True),
}
FEW = 8
RESULTS: str = "results.csv"
COLUMNS: tuple[Field, ...] = ("row", "image", *FIGURES, "inner_steps")


class Counted(SourceBranch):
    """Counts, by step, the predictions that are asked for with a gradient."""

    @cached_property
    def counts(self) -> Counter[int]:
        return Counter()

    def noise(self, z: Tensor, k: int, *others: Any, **named: Any) -> Tensor:
        if torch.is_grad_enabled():
            self.counts[k] += 1
        return super().noise(z, k, *others, **named)


class Image:
    """One image (1, 3, H, W), inverted in several ways, each once. prompts: the text of each."""

    def __init__(self, backbone: DiffusionBackbone, image: Tensor, prompts: Mapping[Prompt, str]) -> None:
        self.backbone, self.prompts, self.clean = backbone, prompts, backbone.encode(image)
        self.round_trip = backbone.decode(self.clean)
        self._inverted: dict[tuple[str, Prompt], tuple[Counted, Trajectory]] = {}

    def inverted(self, inversion: str, prompt: Prompt) -> tuple[Counted, Trajectory]:
        """By an inversion, given as overrides."""
        if (inversion, prompt) not in self._inverted:
            backbone, text = self.backbone, self.backbone.embed([self.prompts[prompt], ""])
            steps, conditioning = backbone.process.steps(STEPS), Conditioning.of(text[:1])
            branch = Counted(backbone, steps, inversion_of(inversion).build(), conditioning, text[1:])
            self._inverted[inversion, prompt] = branch, branch.invert(self.clean)
        return self._inverted[inversion, prompt]

    def measure(self, row: Row) -> tuple[dict[Field, Any], Tensor]:
        """The figures of a row, with the optimisation's passes at each step if there were some, and
        the image (3, H, W)."""
        branch, trajectory = self.inverted(row.inversion, row.prompt)
        inner = "" if not branch.counts else " ".join(str(branch.counts[k]) for k in range(STEPS))
        rebuilt, trip = self.backbone.decode(branch.reconstruct(trajectory, row.scale)), self.round_trip
        mse = (rebuilt - trip).square().mean().item()
        return {"psnr": psnr(rebuilt, trip), "ssim": ssim(rebuilt, trip), "mse": mse, "inner_steps": inner}, rebuilt[0]


def inversion_of(overrides: str) -> InversionSettings:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return parse(compose("config", f"inversion={overrides}".split())).inversion


def measure_all(folder: Path, images: int, wanted: Callable[[str], bool], first: int = 0) -> None:
    """Every row of every image that the folder lacks, image by image, so that a broken-off study
    has whole images."""
    path = folder / RESULTS
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    todo = lacking(path, filter(wanted, ROWS), range(first, images))
    todo = {number: [name for name in left if number < FEW or not ROWS[name].few] for number, left in todo.items()}
    if not any(todo.values()):
        return
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = parse(compose("config", []))
    backbone = settings.backbone.build(torch.device("cpu"))
    views = heldout_views(SEED, 0, images + 1, width_height(settings.scene.size)[0], WORLD, ("joints",))
    with adding(path, COLUMNS) as add:
        for number, left in todo.items():
            if not left:
                continue
            # The wrong prompt is the next image's caption, of another kind of object.
            texts: dict[Prompt, str] = {
                "caption": views.captions[number],
                "empty": "",
                "wrong": views.captions[number + 1],
            }
            image = Image(backbone, views.images[number : number + 1], texts)
            write_image(picture(folder, "autoencoder", number), image.round_trip[0].numpy())
            for name in left:
                figures, rebuilt = image.measure(ROWS[name])
                write_image(picture(folder, name, number), rebuilt.numpy())
                add({"row": name, "image": number, **figures})


def table(path: Path) -> str:
    """Means and standard deviations over the images of each row, as Markdown; and how many steps
    optimisation took."""
    lines = ["| inversion | images | PSNR, dB | SSIM | MSE x 1000 |", "|---|---|---|---|---|"]
    found = read(path)
    for name in ROWS:
        some = [each for each in found if each["row"] == name]
        if some:
            values = {key: [float(each[key]) for each in some] for key in FIGURES}
            spread = f" ± {stdev(values['psnr']):.1f}" if len(some) > 1 else ""
            figures = f"{mean(values['psnr']):.2f}{spread} | {mean(values['ssim']):.4f} | {1000 * mean(values['mse']):.2f}"
            lines.append(f"| {name} | {len(some)} | {figures} |")
    inner = [int(count) for each in found for count in each["inner_steps"].split()]
    if inner:
        spread = ", ".join(f"{count}: {n / len(inner):.0%}" for count, n in sorted(Counter(inner).items()))
        lines += ["", f"Null-text: {mean(inner):.2f} forward and backward passes a step ({spread})."]
    return "\n".join(lines)


def sheet(folder: Path, rows: Sequence[str], most: int = 6) -> np.ndarray | None:
    """What came back of some images, beside the autoencoder's own round trip, with the mean PSNR of
    all images below."""
    found = read(folder / RESULTS)
    numbers = first_pictured(folder, found, rows, most)
    if not numbers:
        return None
    columns = []
    for name in ("autoencoder", *rows):
        there = [picture(folder, name, number) for number in numbers]
        if all(path.exists() for path in there):
            values = [float(each["psnr"]) for each in found if each["row"] == name]
            columns.append(
                Column(
                    name.replace("γ", "scale"), [read_image(path) for path in there], [f"{mean(values):.1f} dB"] if values else []
                )
            )
    return contact_sheet(columns, [str(number) for number in numbers], "Reconstructions", "", most)


if __name__ == "__main__":
    command(__doc__, measure_all, table, RESULTS, images=64)
