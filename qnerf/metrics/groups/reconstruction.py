"""How well inversion reproduces the source views, and what the autoencoder alone leaves of the object; the run itself computes
both (`qnerf.runs.reconstruction`, `qnerf.runs.round_trip`)."""

from qnerf.metrics.registry import Metric

METRICS = (
    Metric(
        "reconstruction_psnr", "reconstruction", ("inversion",), "dB", "higher",
        "Source views, inverted and denoised without an edit, against the autoencoder's reconstruction of "
        "them.",
        "ours", None, "PSNR, reconstruction", digits=2, place=60,
    ),
    Metric(
        "round_trip_psnr_object", "reconstruction", (), "dB", None,
        "Source views through the autoencoder alone, in the region where the proxy is before or after the edit.",
        "ours", None, "PSNR, object, autoencoder alone", digits=2, place=61,
    ),
    Metric(
        "psnr_object_ceiling", "reconstruction", ("truth",), "dB", None,
        "PSNR of the object of the true edited views through the autoencoder alone: no edit that is decoded can be better.",
        "ours", None, "PSNR, object, true views decoded (ceiling)", digits=2, place=12,
    ),
    Metric(
        "psnr_moved_ceiling", "reconstruction", ("truth",), "dB", None,
        "PSNR of the moved parts of the true edited views through the autoencoder alone.",
        "ours", None, "PSNR, moved parts, true views decoded (ceiling)", digits=2, place=13,
    ),
)  # fmt: skip
