import pytest

from qnerf.metrics.registry import metric_of, show
from qnerf.reports.figures import headline, verdict

FLOOR = {"warp_error_moved_floor": 0.02}


def test_verdict_names_the_winner_and_its_share_above_the_floor() -> None:
    figures = {
        "full": {**FLOOR, "warp_error_moved": 0.05, "psnr_object": 20.0},
        "independent": {**FLOOR, "warp_error_moved": 0.08, "psnr_object": 20.2},
    }
    text = verdict(figures, "full", "independent")
    assert text.startswith("full is more consistent")
    assert "(0.0200) this is 50 % less" in text  # (.08 - .05) / (.08 - .02)
    assert "full 20.00 dB, independent 20.20 dB" in text
    assert "no gain" not in text
    figures["full"] = {**figures["full"], "psnr_object": 19.0}
    assert "This costs 1.2 dB of fidelity: no gain" in verdict(figures, "full", "independent")


def test_verdict_is_honest_when_consolidation_loses() -> None:
    figures = {"full": {**FLOOR, "warp_error_moved": 0.09}, "independent": {**FLOOR, "warp_error_moved": 0.08}}
    assert verdict(figures, "full", "independent").startswith("independent is more consistent")


def test_verdict_without_truth_or_at_the_floor() -> None:
    assert "true edited views of this scene are not known" in verdict({"full": {}, "independent": {}}, "full", "independent")
    both = {name: {**FLOOR, "warp_error_moved": 0.02} for name in ("a", "b")}
    assert "nothing to consolidate" in verdict(both, "a", "b")
    below = {"full": {**FLOOR, "warp_error_moved": 0.01}, "independent": {**FLOOR, "warp_error_moved": 0.08}}
    assert "The true views have 0.0200 themselves, so nothing of it is left" in verdict(below, "full", "independent")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("psnr_object", 21.239, "21.24 dB"),
        ("warp_error_moved", 0.05, "0.0500"),
        ("psnr_truth", None, "n/a"),
        ("psnr_truth", float("inf"), "n/a"),
    ],
)
def test_figures_are_shown_with_unit_and_rounding(key: str, value: float | None, expected: str) -> None:
    assert show(key, value) == expected


def test_headline_sets_the_floor_beside_the_figure_and_falls_back_to_what_is_known() -> None:
    assert headline({**FLOOR, "warp_error_moved": 0.05}) == ["warp error, moved parts: 0.0500 (floor 0.0200)"]
    assert headline({"heldout_psnr": 25.0}) == ["PSNR, held-out views: 25.00 dB"]


def test_an_unknown_metric_shows_under_its_own_name() -> None:
    assert metric_of("new_metric").label == "new metric"
