"""The figures of one method's edited views, group by group, each measured once for all runs that share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from qnerf.common.files import Pixels
from qnerf.config import RunSettings
from qnerf.metrics.evaluate import evaluate_group, in_order
from qnerf.reports.images import to_pixels
from qnerf.runs.methods import Edited
from qnerf.runs.stages import Stages
from qnerf.runs.work import ALONE, Workshop
from qnerf.scenes.scene import Scene
from qnerf.store.entry import Artefact
from qnerf.store.key import Key

MOST_SHOWN = 4  # pictures that a group keeps of one method


@dataclass(frozen=True)
class Measured:
    """figures: by name, in the order of tables. shown: what figures compare edited views with, (H, W, 3) bytes by the view's index:
    the renderings of the radiance field at held-out views."""

    figures: dict[str, float]
    shown: Mapping[int, Pixels]


def measure(
    settings: RunSettings, scene: Scene, edited: Edited, work: Workshop = ALONE, as_decoded: bool = False
) -> dict[str, float]:
    """The figures of `settings.metrics.groups` by name, in the order of tables: {"psnr_object": 22.9, …} (docs/metrics.md).

    A figure that does not exist is left out: most need a scene with the true edited views. work: a run's store and progress; by
    default nothing is kept. as_decoded: of the model's own pictures in the place of the output, and of `metrics.decoded_groups`
    alone; nothing where the output keeps no pixels. Raises UserError for a figure that is infinite.
    """
    return measured(settings, scene, edited, work, as_decoded).figures


def measured(settings: RunSettings, scene: Scene, edited: Edited, work: Workshop = ALONE, as_decoded: bool = False) -> Measured:
    """`measure`, with the pictures that the figures are made of."""
    if as_decoded and edited.mask is None:
        return Measured({}, {})
    work.progress.enter(f"measuring: {edited.method}{', as decoded' if as_decoded else ''}")
    images = edited.decoded if as_decoded else edited.images
    found: dict[str, float] = {}
    shown: dict[int, Pixels] = {}
    for group in sorted(set(settings.metrics.measured_as_decoded() if as_decoded else settings.metrics.measured())):

        def compute(group: str = group) -> Artefact:
            seen: dict[str, Pixels] = {}

            def show(view: int, image: Tensor) -> None:
                if len(seen) < MOST_SHOWN:
                    seen[f"{view}.png"] = to_pixels(image)

            return Artefact(record=evaluate_group(group, images, scene, settings, edited.field_depth, show), pictures=seen)

        def key(stages: Stages, group: str = group) -> Key:
            return stages.figures(settings.methods()[edited.method], group, as_decoded)

        kept = work.once(key, compute)
        found |= kept.record
        shown |= {int(Path(name).stem): picture for name, picture in kept.pictures.items()}
    if not as_decoded:
        work.progress.advance("measure")
    return Measured(in_order(found), shown)
