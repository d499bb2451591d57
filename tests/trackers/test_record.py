from pathlib import Path

import pytest

from qnerf.trackers.record import record_fields, record_figures
from tests.trackers.helpers import Noting


def test_figures_fields_and_pictures_each_at_its_step(tmp_path: Path) -> None:
    tracker = Noting()
    (tmp_path / "full_step005.png").touch()
    pictures = [("a title", tmp_path / "full_step005.png"), ("gone", tmp_path / "full_step010.png")]
    record_fields(tracker, "full", [(5, {"up_1": 0.9, "up_2": 0.5}), (10, {"up_1": 0.8})], pictures)
    record_figures(tracker, "full", {"psnr": 20.0, "depth": None}, {"psnr": 19.0}, steps=30)
    assert tracker.told == [
        ("log", {"full/r2/up_1": 0.9, "full/r2/up_2": 0.5, "full/disagreement": pytest.approx(0.3)}, 5),
        ("log", {"full/r2/up_1": 0.8, "full/disagreement": pytest.approx(0.2)}, 10),
        ("image", "full/queries", "full_step005.png", 5),
        ("log", {"full/psnr": 20.0, "full/as_decoded/psnr": 19.0}, 30),
    ]
