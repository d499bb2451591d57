"""Sentences that sum up the figures: the lines under a column, and which of two edits is more consistent."""

from collections.abc import Mapping

from qnerf.metrics.registry import FLOOR, headlines, metric_of, show

Figures = Mapping[str, float | None]


MAIN_METHOD = "full"  # what the results call the method that the top-level schedule and guidance describe


def headline(figures: Figures) -> list[str]:
    """A method's two or three lines under its column of the contact sheet."""
    lines = []
    for key in headlines():
        if figures.get(key) is None:
            continue
        floor = figures.get(key + FLOOR)
        suffix = f" (floor {show(key, floor)})" if floor is not None else ""
        lines.append(f"{metric_of(key).label}: {show(key, figures[key])}{suffix}")
    return lines or [f"{metric_of(k).label}: {show(k, v)}" for k, v in figures.items() if v is not None][:3]


FIDELITY_MARGIN = 0.3  # dB that consistency may cost: blur alone lowers every warp error


def verdict(figures: Mapping[str, Figures], main: str, other: str) -> str:
    """One sentence: which of two methods has the more consistent views, and what that costs in fidelity."""
    ours, theirs = figures.get(main, {}), figures.get(other, {})
    a, b, floor = ours.get("warp_error_moved"), theirs.get("warp_error_moved"), ours.get("warp_error_moved_floor")
    if a is None or b is None or floor is None:
        return "The true edited views of this scene are not known, so no figure says which edit is more consistent: compare by eye."
    winner, loser, low, high = (main, other, a, b) if a <= b else (other, main, b, a)
    if high <= floor:
        return f"{main} and {other} are both as consistent as the true views: there is nothing to consolidate."
    text = f"{winner} is more consistent: its warp error on the moved parts is {low:.4f}, that of {loser} is {high:.4f}. "
    if low <= floor:  # renderings of one field are smoother than pictures, and so cost less in resampling
        text += f"The true views have {floor:.4f} themselves, so nothing of it is left to consolidate"
    else:
        text += f"Above the floor of the true views ({floor:.4f}) this is {100 * (high - low) / (high - floor):.0f} % less"
    p, q = ours.get("psnr_object"), theirs.get("psnr_object")
    if p is None or q is None:
        return f"{text}."
    text = f"{text}. PSNR of the object: {main} {p:.2f} dB, {other} {q:.2f} dB."
    cost = q - p if winner == main else p - q
    return text if cost <= FIDELITY_MARGIN else f"{text} This costs {cost:.1f} dB of fidelity: no gain."
