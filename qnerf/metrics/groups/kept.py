"""How much of the output is the source's own pixels; the run itself computes it (`qnerf.scenes.kept`)."""

from qnerf.metrics.registry import Metric

METRICS = (
    Metric(
        "kept_share", "kept", (), "", None,
        "Share of the output's pixels that are the source's, bit by bit, since nothing moves there "
        "(output.keep_pixels).",
        "ours", None, "share of kept pixels", digits=3, place=61,
    ),
)  # fmt: skip
