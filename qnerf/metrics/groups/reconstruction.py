"""How well inversion reproduces the source views; the run itself computes it
(`qnerf.runs.reconstruction`)."""

from qnerf.metrics.registry import Metric

METRICS = (
    Metric(
        "reconstruction_psnr", "reconstruction", ("inversion",), "dB", "higher",
        "Source views, inverted and denoised without an edit, against the autoencoder's reconstruction of "
        "them.",
        "ours", None, "PSNR, reconstruction", digits=2, place=60,
    ),
)  # fmt: skip
