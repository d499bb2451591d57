"""What is measured, as docs/metrics.md has it: `python -m qnerf.metrics > docs/metrics.md`."""

from __future__ import annotations

from qnerf.metrics.registry import Metric, groups, objectives, registered

HEAD = """# The figures of an edit

`python -m qnerf.metrics` writes this page from the registry (`qnerf/metrics/registry.py`); a test holds them together.

`metrics.groups` chooses among the groups {chosen}. Figures of the groups {others} need no choice. Those whose
needs a scene or a method does not meet are left out, of `metrics.json`, tables and pages alike. A search
(`sweep.objectives`) can be after {objectives}.

Blur lowers every disagreement, and a flat picture has none: read it beside a PSNR. `…_floor` is the same figure of the
true views, the best that can be reached.

| figure | group | unit | better | needs | reads | what it is | source |
|---|---|---|---|---|---|---|---|
"""
TAIL = """
## A new figure
One file `qnerf/metrics/groups/sharpness.py`, one config `conf/metrics/sharpness.yaml` (`defaults: [default]` and the
`groups`), one test. Nothing else lists it: columns, pages, identities, searches and this table follow from its record.

```python
from qnerf.metrics.registry import Metric


def measure(edited):  # torch is imported in here: records are read before it
    return {"sharpness": edited.images.diff(dim=3).abs().mean().item()}


METRICS = (
    Metric(
        "sharpness", "sharpness", (), "", "higher", "Mean difference of neighbouring pixels.", "ours", measure, label="sharpness"
    ),
)
```
`edited` (`qnerf.metrics.evaluate.Edited`) has the views, the scene with its truth, the last field's depth, and of the
settings those that the record names in `reads`. A package outside names its `METRICS` as an entry point of the group
`qnerf.metrics`; its config lies on Hydra's search path (`--config-dir`). Two figures of one name are refused.
"""


def page() -> str:
    """The whole page as Markdown."""
    chosen = [group for group, metrics in groups().items() if not any(metric.always for metric in metrics)]
    others = dict.fromkeys(metric.group for metric in registered().values() if metric.group not in chosen)
    lists = {"chosen": chosen, "others": list(others), "objectives": objectives()}
    head = HEAD.format(**{name: ", ".join(f"`{item}`" for item in items) for name, items in lists.items()})
    return head + "\n".join(_row(metric) for metric in registered().values()) + "\n" + TAIL


def _row(metric: Metric) -> str:
    better = {"higher": "↑", "lower": "↓", None: ""}[metric.better]
    reads = ", ".join(f"`{key}`" for key in metric.reads)
    parts = [
        f"`{metric.name}`",
        metric.group,
        metric.unit,
        better,
        ", ".join(metric.needs),
        reads,
        metric.explanation,
        metric.source,
    ]
    return f"| {' | '.join(parts)} |"


if __name__ == "__main__":
    print(page(), end="")
