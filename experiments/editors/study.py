"""The editors beside each other on single-image edits whose truth is known (study F3, and the
leaderboard of editors).

    python -m experiments.editors.study results    # measures what the folder lacks, image by image
    python -m experiments.editors.study results --images 4 --rows fpe
    python -m experiments.editors.study results --table    # the table of what has been measured

Each image is inverted in 30 steps under its caption, and edited by its captions alone, without a
control or a mask, as `+exp=edit_image` does it. The folder has results.csv and, in pictures/, each
edited image.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from torch import Tensor

import qnerf
from experiments.editors.cases import Case, make_case
from experiments.results import adding, command, first_pictured, lacking, picture, read
from qnerf.classifiers.classifiers import Classifiers, load_classifiers
from qnerf.metrics.fidelity import psnr
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.scenes.images import read_image, write_image

STEPS, SIZE = 30, 128
FIGURES = ("right", "psnr_edit", "psnr_background", "silhouette", "seconds")
"""right: the classifiers see what was asked for, 0 or 1. psnr_edit, psnr_background: dB, to the
true edited image, where it differs from the source and elsewhere. silhouette: intersection over
union of the classifiers' silhouettes of edit and source. seconds: of the edit alone."""
RESULTS: str = "results.csv"
COLUMNS: list[str] = ["row", "image", "change", *FIGURES]


@dataclass(frozen=True)
class Row:
    """A way to edit, as overrides of `+exp=edit_image`."""

    editor: str
    scale: float
    inversion: str = "ddim"
    more: tuple[str, ...] = ()

    @property
    def overrides(self) -> list[str]:
        return [f"editor={self.editor}", f"editor.guidance_scale={self.scale:g}", f"inversion={self.inversion}", *self.more]


SCALES = (1.0, 2.0, 3.5, 7.5)
MASKED, MASK = "masactrl + adaptive_mask, γ 3.5", "editor.additions.adaptive_mask"
ROWS: Mapping[str, Row] = {
    **{f"{editor}, γ {scale:g}": Row(editor, scale) for editor in ("plain", "masactrl", "fpe", "p2p", "pnp") for scale in SCALES},
    **{f"{editor} + adaptive_mask, γ 3.5": Row(f"[{editor},adaptive_mask]", 3.5) for editor in ("masactrl", "fpe", "p2p")},
    **{
        f"{MASKED}, {key} {value:g}": Row("[masactrl,adaptive_mask]", 3.5, more=(f"{MASK}.{key}={value:g}",))
        for key, values in {"quantile": (0.25, 0.75), "below": (100, 400), "dilation": (0, 2), "multiple": (1,)}.items()
        for value in values
    },
    **{
        f"fpe, γ 3.5, map_steps {share:g}": Row("fpe", 3.5, more=(f"editor.map_steps={share:g}",))
        for share in (0, 0.2, 0.4, 0.6, 1)
    },
    **{
        f"fpe, γ 3.5, layers {layers[0]}-{layers[-1]}": Row(
            "fpe", 3.5, more=(f"editor.map_layers=[{','.join(str(layer) for layer in layers)}]",)
        )
        for layers in (range(16), range(3, 14), range(10, 16))
    },
    "sdedit, γ 3.5": Row("[plain,sdedit]", 3.5),
    "plain after ddpm, γ 3.5": Row("plain", 3.5, "ddpm"),
    "plain after negative_prompt, γ 3.5": Row("plain", 3.5, "negative_prompt"),
}


class Measured:
    """One case, inverted once for each inversion."""

    def __init__(self, case: Case, folder: Path, classifiers: Classifiers) -> None:
        self.case, self.classifiers = case, classifiers
        self.list = folder / "images" / f"{case.number:03d}.json"
        self.list.parent.mkdir(parents=True, exist_ok=True)
        write_image(self.list.with_suffix(".png"), case.image.numpy())
        entry = {"image_path": self.list.with_suffix(".png").name, "original_prompt": case.source, "editing_prompt": case.target}
        self.list.write_text(json.dumps([entry]), encoding="utf-8")
        self.silhouette = classifiers.look(case.image[None]).silhouettes[0]
        self._inverted: dict[str, Any] = {}

    def edit(self, row: Row, size: int = SIZE, backbone: Any = None) -> tuple[Tensor, float]:
        """The edited image (3, S, S), and the seconds that it took. backbone: none: that of the settings."""
        changes = [f"image={self.list}", f"steps={STEPS}", f"scene.size={size}", "device=cpu", *row.overrides]
        settings = qnerf.Settings.compose("+exp=edit_image", *changes)
        if row.inversion not in self._inverted:
            model = backbone or qnerf.load_backbone(settings)
            self._inverted[row.inversion] = qnerf.invert(settings, qnerf.load_scene(settings), model)
        started = time.monotonic()
        found = qnerf.edit(settings, self._inverted[row.inversion])
        return found.images[0].cpu(), time.monotonic() - started

    def figures(self, image: Tensor, seconds: float) -> dict[str, Any]:
        """The figures of an edited image."""
        case, seen = self.case, self.classifiers.look(image[None])
        right = seen.kinds[0] == case.kind if case.part is None else seen.names[0, case.part] == case.name
        edit, background = (psnr(image[None], case.truth[None], mask[None]) for mask in (case.region, ~case.region))
        both, either = (
            float(mask.sum()) for mask in (self.silhouette & seen.silhouettes[0], self.silhouette | seen.silhouettes[0])
        )
        values = (int(right), edit, background, both / max(either, 1), seconds)
        return {"change": case.change, **dict(zip(FIGURES, values, strict=True))}


def measure_all(folder: Path, images: int, wanted: Callable[[str], bool], first: int = 0) -> None:
    """Every row of every image that the folder lacks, image by image, so that a broken-off study
    has whole images."""
    path = folder / RESULTS
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    todo = lacking(path, filter(wanted, ROWS), range(first, images))
    if not todo:
        return
    classifiers = load_classifiers()
    with adding(path, COLUMNS) as add:
        for number, left in todo.items():
            measured = Measured(make_case(number, SIZE), folder, classifiers)
            write_image(picture(folder, "truth", number), measured.case.truth.numpy())
            for name in left:
                image, seconds = measured.edit(ROWS[name])
                write_image(picture(folder, name, number), image.numpy())
                add({"row": name, "image": number, **measured.figures(image, seconds)})


def table(path: Path) -> str:
    """Means over the images of each row, as Markdown."""
    head = "| editor | images | right: colour | right: kind | PSNR of the edit, dB | PSNR of the rest, dB | silhouette IoU | s |"
    lines, found = [head, "|---|---|---|---|---|---|---|---|"], read(path)
    for name in ROWS:
        some = [each for each in found if each["row"] == name]
        if some:
            right = [_share([each for each in some if each["change"] == change]) for change in ("colour", "kind")]
            edit, rest, silhouette, seconds = (mean(float(each[key]) for each in some) for key in FIGURES[1:])
            lines.append(
                f"| {name} | {len(some)} | {' | '.join(right)} | {edit:.1f} | {rest:.1f} | {silhouette:.2f} | {seconds:.0f} |"
            )
    return "\n".join(lines)


def sheet(folder: Path, rows: Sequence[str], most: int = 8) -> np.ndarray | None:
    """Source, truth and edits of some images, the figures of each row below it."""
    found = read(folder / RESULTS)
    numbers = first_pictured(folder, found, rows, most)
    if not numbers:
        return None
    columns = [
        Column("source", [read_image(folder / "images" / f"{number:03d}.png") for number in numbers]),
        Column("truth", [read_image(picture(folder, "truth", number)) for number in numbers]),
    ]
    for name in rows:
        there = [picture(folder, name, number) for number in numbers]
        if all(path.exists() for path in there):
            some = [each for each in found if each["row"] == name]
            lines = [f"right {_share(some)}", f"rest {mean(float(each['psnr_background']) for each in some):.1f} dB"]
            columns.append(Column(name.replace("γ", "scale"), [read_image(path) for path in there], lines))
    return contact_sheet(columns, [str(number) for number in numbers], "Edits by prompts alone", "", most)


def _share(some: Sequence[Mapping[str, str]]) -> str:
    return f"{sum(int(each['right']) for each in some)} of {len(some)}" if some else "-"


if __name__ == "__main__":
    command(__doc__, measure_all, table, RESULTS, images=64)
