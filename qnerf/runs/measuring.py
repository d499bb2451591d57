"""The figures of one method's edited views, group by group, each measured once for all runs that share it."""

from __future__ import annotations

from qnerf.config import RunSettings
from qnerf.metrics.evaluate import evaluate_group, in_order
from qnerf.runs.methods import Edited
from qnerf.runs.stages import Stages
from qnerf.runs.work import ALONE, Workshop
from qnerf.scenes.scene import Scene
from qnerf.store.entry import Artefact
from qnerf.store.key import Key


def measure(
    settings: RunSettings, scene: Scene, edited: Edited, work: Workshop = ALONE, as_decoded: bool = False
) -> dict[str, float]:
    """The figures of `settings.metrics.groups` by name, in the order of tables: {"psnr_object": 22.9, …} (docs/metrics.md).

    A figure that does not exist is left out: most need a scene with the true edited views. work: a run's store and progress; by
    default nothing is kept. as_decoded: of the model's own pictures in the place of the output, and of `metrics.decoded_groups`
    alone; nothing where the output keeps no pixels. Raises UserError for a figure that is infinite.
    """
    if as_decoded and edited.mask is None:
        return {}
    work.progress.enter(f"measuring: {edited.method}{', as decoded' if as_decoded else ''}")
    images = edited.decoded if as_decoded else edited.images
    found: dict[str, float] = {}
    for group in sorted(set(settings.metrics.measured_as_decoded() if as_decoded else settings.metrics.measured())):

        def compute(group: str = group) -> Artefact:
            return Artefact(record=evaluate_group(group, images, scene, settings, edited.field_depth))

        def key(stages: Stages, group: str = group) -> Key:
            return stages.figures(settings.methods()[edited.method], group, as_decoded)

        found |= work.once(key, compute).record
    if not as_decoded:
        work.progress.advance("measure")
    return in_order(found)
