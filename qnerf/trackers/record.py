"""What a tracker is told of an edit: what each interval's field explains, the pictures of that field, and the figures."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from qnerf.trackers.tracker import Tracker


def record_field(tracker: Tracker, name: str, step: int, r2: Mapping[str, float]) -> None:
    """One query field of a method's edit. r2: by layer. "disagreement" is 1 - R², the mean over the layers: the share of the
    queries' variance on which the views do not agree, as far as one field can tell."""
    mean = {f"{name}/disagreement": 1 - math.fsum(r2.values()) / len(r2)} if r2 else {}
    tracker.log({**{f"{name}/r2/{layer}": value for layer, value in r2.items()}, **mean}, step=step)


def record_step(tracker: Tracker, name: str, disagreement: float, step: int) -> None:
    """How far the queries of the first views are from those that guide a step of a method's edit: 1 - R², the mean over layers."""
    tracker.log({f"{name}/step_disagreement": disagreement}, step=step)


def record_fields(
    tracker: Tracker, name: str, r2: Sequence[tuple[int, Mapping[str, float]]], pictures: Sequence[tuple[str, Path]]
) -> None:
    """All query fields of one method's edit, those too that an earlier run has trained. r2: the step that a field was trained at,
    and R² by layer. pictures: title and file of each field's queries, rendered queries (first three components) and expected
    depth."""
    for step, by_layer in r2:
        record_field(tracker, name, step, by_layer)
    for (step, _), (_, path) in zip(r2, pictures, strict=False):  # a tracker never stops a run
        if path.exists():
            tracker.image(f"{name}/queries", path, step)


def record_figures(
    tracker: Tracker, name: str, figures: Mapping[str, float | None], as_decoded: Mapping[str, float | None], steps: int
) -> None:
    """The figures of one method's edit of `steps` denoising steps: of the output, and of the model's own pictures (as_decoded)."""
    known = {f"{name}/{key}": value for key, value in figures.items()}
    known |= {f"{name}/as_decoded/{key}": value for key, value in as_decoded.items()}
    tracker.log({key: value for key, value in known.items() if value is not None}, step=steps)
