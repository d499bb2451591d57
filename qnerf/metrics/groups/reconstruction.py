"""How well the source views come out of their inversion; the run itself computes it (`qnerf.runs.reconstruction`)."""

from qnerf.metrics.registry import Metric

METRICS = (
    Metric(
        "reconstruction_psnr", "reconstruction", ("inversion",), "dB", "higher",
        "Inverted and denoised source views, without any edit, against the autoencoder's own round trip.",
        "ours", None, "PSNR, reconstruction", digits=2, place=60,
    ),
)  # fmt: skip
