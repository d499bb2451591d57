"""The page docs/metrics.md: `python -m qnerf.metrics > docs/metrics.md`."""

from __future__ import annotations

from qnerf.metrics.registry import Metric, groups, objectives, registered

HEAD = """# The figures of an edit

`python -m qnerf.metrics` writes this page from the registry (`qnerf/metrics/registry.py`). A test checks that
the two are the same.

`metrics.groups` chooses among the groups {chosen}. The groups {others} are always measured. A figure is left
out of `metrics.json`, tables and pages where the scene or the method does not have what it needs. A search
(`sweep.objectives`) can improve {objectives}.

Blur lowers every warp error, and a flat picture has none: read a warp error beside a PSNR. A name that ends
in `_floor` or `_ceiling` is the same figure of the true views, the best that can be reached.

| figure | group | unit | better | needs | settings it depends on | what it is | source |
|---|---|---|---|---|---|---|---|
"""
TAIL = """
## A new figure
Write one file `qnerf/metrics/groups/sharpness.py`, one config `conf/metrics/sharpness.yaml`
(`defaults: [default]` and the `groups`) and one test. Nothing else needs to change: columns, pages,
identities, searches and this table follow from its record.

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
`edited` (`qnerf.metrics.evaluate.Edited`) has the views, the scene with its truth, the last field's depth,
and those settings that the record names in `reads`. Another package names its `METRICS` as an entry point of
the group `qnerf.metrics`, and its config is found with `--config-dir`. Two figures with the same name are an
error.
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
