"""The figures of one method's edited views, group by group, each measured once for all runs that share it."""

from __future__ import annotations

from qnerf.config import RunSettings
from qnerf.metrics.evaluate import evaluate_group, in_order
from qnerf.runs.methods import Edited
from qnerf.runs.work import ALONE, Workshop
from qnerf.scenes.scene import Scene
from qnerf.store.entry import Artefact


def measure(settings: RunSettings, scene: Scene, edited: Edited, work: Workshop = ALONE) -> dict[str, float]:
    """The figures of `settings.metrics.groups` by name, in the order of tables: {"psnr_object": 22.9, …} (docs/metrics.md).

    A figure that does not exist is left out: most need a scene with the true edited views. work: a run's store and progress; by
    default nothing is kept. Raises UserError for a figure that is infinite.
    """
    work.progress.enter(f"measuring: {edited.method}")
    found: dict[str, float] = {}
    for group in sorted(set(settings.metrics.measured())):

        def compute(group: str = group) -> Artefact:
            return Artefact(record=evaluate_group(group, edited.images, scene, settings, edited.field_depth))

        found |= work.once(lambda stages, group=group: stages.figures(settings.methods()[edited.method], group), compute).record
    work.progress.advance("measure")
    return in_order(found)
