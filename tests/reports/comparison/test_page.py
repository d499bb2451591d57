"""The page is one file that needs nothing else, with every cell's figures, pictures and command in it."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qnerf import compare
from qnerf.reports.comparison.page import document, shown_metrics, write_comparison
from qnerf.reports.comparison.pictures import strip
from qnerf.reports.results import read_sweep
from tests.reports.comparison.synthetic import make_sweep

plotly = pytest.importorskip("plotly.offline")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sweep(tmp_path_factory.mktemp("page"), strengths=("0.01", "0.04"))


def embedded(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def decode(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGB"))


def test_the_data_is_the_table_with_pictures(sweep: Path) -> None:
    text = write_comparison(sweep).read_text(encoding="utf-8")
    data = embedded(text)
    cells = read_sweep(sweep).cells
    assert [cell["identity"] for cell in data["cells"]] == [cell.identity for cell in cells]
    assert all(shown["metrics"].items() >= cell.metrics.items() for shown, cell in zip(data["cells"], cells, strict=True))
    assert [each["key"] for each in data["swept"] if not each["replicate"]] == ["guidance.strength", "schedule.interval"]
    assert len(data["scenes"]) == 2, "source views are kept once for all cells of a scene"
    done = next(cell for cell in data["cells"] if cell["status"] == "done")
    after, before = decode(done["views"]["after"]), decode(data["scenes"][done["views"]["scene"]]["before"])
    assert after.shape == before.shape == (32, 4 * 32, 3)
    failed = next(cell for cell in data["cells"] if cell["status"] == "failed")
    assert failed["views"] is None


def test_the_page_asks_for_nothing_outside_itself(sweep: Path) -> None:
    text = write_comparison(sweep).read_text(encoding="utf-8")
    own = text.replace(plotly.get_plotlyjs(), "")
    assert not re.findall(r"(?:src|href)\s*=|url\((?!\")|@import|https?://", own)
    assert "{{" not in own.replace("${", "")
    assert len(own) < 500_000


def test_texts_cannot_end_the_script(sweep: Path, tmp_path: Path) -> None:
    for name in ("results.csv", "sweep.json"):
        (tmp_path / name).write_text((sweep / name).read_text().replace("puppet_0", "</script><b>"))
    data = embedded(write_comparison(tmp_path).read_text(encoding="utf-8"))
    assert "</script><b>" in data["command"]


def test_figures_with_a_meaning_come_first_and_none_twice() -> None:
    keys = ["x.y", "methods.full.psnr_object", "psnr_object", "reconstruction_psnr_by_view.3", "warp_error_moved", "seconds"]
    assert shown_metrics(keys) == ["warp_error_moved", "psnr_object", "x.y"]


def test_a_strip_keeps_the_order_and_is_small() -> None:
    pictures = [Image.new("RGB", (256, 256), colour) for colour in ("red", "lime", "blue")]
    pixels = decode(strip(pictures, 64))
    assert pixels.shape == (64, 192, 3)
    assert [int(pixels[32, 32 + 64 * i].argmax()) for i in range(3)] == [0, 1, 2]


def test_a_missing_scene_costs_the_pictures_before_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_sweep(tmp_path, strengths=("0.01",), intervals=("3",))
    for path in (tmp_path / "scenes").rglob("transforms.json"):
        path.unlink()
    data = document(read_sweep(folder))
    assert all(cell["views"]["after"] for cell in data["cells"])
    assert not data["scenes"]
    assert len([r for r in caplog.records if "source views of" in r.getMessage()]) == 2, "one line a scene"


def test_the_command_says_where_the_page_is_or_what_is_wrong(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([str(sweep)]) == 0
    assert f"{sweep}/report.html (" in capsys.readouterr().out
    assert compare.main([str(tmp_path)]) == 2
    assert "has no sweep.json; expected the folder of a sweep" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        compare.main([])
    assert left.value.code == 2
