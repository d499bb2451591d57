"""The words for the figures: label, unit, direction and meaning of every metric, and the sentence that sums them up."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Meaning:
    """How a metric is shown. better: "higher", "lower", or "" for a reference value. digits: after the point."""

    label: str
    unit: str
    better: str
    digits: int
    explanation: str


MEANINGS: dict[str, Meaning] = {
    "consistency_moved": Meaning(
        "disagreement of views, moved parts", "", "lower", 4,
        "Mean absolute colour difference (0 to 1) between each edited view and its neighbours warped into it by "
        "the true depth of the edited scene, over the visible pixels of the parts that the edit moved.",
    ),
    "consistency_moved_floor": Meaning(
        "… of the true views (floor)", "", "", 4, "The same for the true edited views: what resampling alone costs."
    ),
    "consistency_object": Meaning(
        "disagreement of views, whole object", "", "lower", 4, "The same over the whole object."
    ),
    "consistency_object_floor": Meaning("… of the true views (floor)", "", "", 4, "The floor over the whole object."),
    "psnr_object": Meaning(
        "PSNR, object", "dB", "higher", 2,
        "Closeness to the true edited views inside the union of the silhouettes before and after the edit.",
    ),
    "error_of_mean": Meaning(
        "squared error of the views' mean", "", "", 5,
        "Of what the views show in the mean of a point of the true edited surface: what they would keep if they agreed on it.",
    ),
    "error_about_mean": Meaning(
        "squared error of the views about it", "", "", 5,
        "How far views are from that mean: what is there to be consolidated. Blur lowers it, another shape raises it.",
    ),
    "psnr_truth": Meaning("PSNR, whole view", "dB", "higher", 2, "Closeness to the true edited views, all pixels."),
    "ssim_truth": Meaning("SSIM, whole view", "", "higher", 4, "Structural likeness to the true edited views, 0 to 1."),
    "silhouette_iou": Meaning(
        "silhouette overlap", "", "higher", 3, "Intersection over union of the edited and the true silhouette."
    ),
    "psnr_moved": Meaning(
        "PSNR, moved parts", "dB", "higher", 2, "Closeness to the true edited views on the parts that the edit moved."
    ),
    "silhouette_iou_floor": Meaning(
        "… of the true views (ceiling)", "", "", 3, "The overlap that the same segmentation finds in the true edited views."
    ),
    "field_depth_error": Meaning(
        "depth error of the last query field", "", "lower", 3,
        "Mean difference of the field's expected depth from the true depth of the edited object, in world units.",
    ),
    "psnr_background": Meaning(
        "PSNR, background", "dB", "higher", 2, "Closeness to the source outside both silhouettes: what should stay."
    ),
    "heldout_psnr": Meaning(
        "PSNR, held-out views", "dB", "higher", 2,
        "A radiance field is trained on some of the edited views; its renderings against the edited views left out.",
    ),
    "reconstruction_psnr": Meaning(
        "PSNR, reconstruction", "dB", "higher", 2,
        "Inverted and denoised source views, without any edit, against the autoencoder's own round trip.",
    ),
}  # fmt: skip

MAIN_METHOD = "full"  # what the results call the method that the top-level schedule and guidance describe

HEADLINE = ("consistency_moved", "psnr_object", "psnr_truth")


def meaning_of(key: str) -> Meaning:
    """The meaning of a metric; one that the table does not know shows under its own name."""
    return MEANINGS.get(key, Meaning(key.replace("_", " "), "", "", 4, ""))


def show(key: str, value: float | None) -> str:
    """A figure with its unit, rounded as it deserves."""
    meaning = meaning_of(key)
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{value:.{meaning.digits}f}{' ' + meaning.unit if meaning.unit else ''}"


def headline(figures: Figures) -> list[str]:
    """A method's two or three lines under its column of the contact sheet."""
    lines = []
    for key in HEADLINE:
        if figures.get(key) is None:
            continue
        floor = figures.get(f"{key}_floor")
        suffix = f" (floor {show(key, floor)})" if floor is not None else ""
        lines.append(f"{meaning_of(key).label}: {show(key, figures[key])}{suffix}")
    return lines or [f"{meaning_of(k).label}: {show(k, v)}" for k, v in figures.items() if v is not None][:3]


FIDELITY_MARGIN = 0.3  # dB that consistency may cost: blur alone lowers every disagreement


def verdict(figures: Mapping[str, Figures], main: str, other: str) -> str:
    """One sentence: which of two methods has the more consistent views, and what that costs in fidelity."""
    ours, theirs = figures.get(main, {}), figures.get(other, {})
    a, b, floor = ours.get("consistency_moved"), theirs.get("consistency_moved"), ours.get("consistency_moved_floor")
    if a is None or b is None or floor is None:
        return "The truth of this scene is not known, so no figure says which edit is more consistent: compare by eye."
    winner, loser, low, high = (main, other, a, b) if a <= b else (other, main, b, a)
    if high <= floor:
        return f"Both {main} and {other} are as consistent as the true views: there is nothing to consolidate."
    share = 100 * (high - low) / (high - floor)
    text = (
        f"{winner} is the more consistent: its views disagree on the moved parts by {low:.4f}, {loser}'s by {high:.4f} "
        f"(true views: {floor:.4f}), which is {share:.0f} % less above that floor"
    )
    p, q = ours.get("psnr_object"), theirs.get("psnr_object")
    if p is None or q is None:
        return f"{text}."
    text = f"{text}; PSNR of the object: {main} {p:.2f} dB, {other} {q:.2f} dB."
    cost = q - p if winner == main else p - q
    return text if cost <= FIDELITY_MARGIN else f"{text} That is bought with {cost:.1f} dB of fidelity: no gain."
