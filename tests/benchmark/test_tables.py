"""The benchmark's statistics on cases worked by hand: no method may win that changes nothing."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from qnerf.benchmark.__main__ import looseness_chart, main, marked, tables
from qnerf.benchmark.cells import BenchmarkCell, read_cells
from qnerf.benchmark.pictures import chosen_cells, read_settings
from qnerf.benchmark.tables import Row, gains, methods_of, over_looseness, shares_of_oracle, to_csv, to_markdown
from qnerf.config import RunSettings
from qnerf.errors import UserError
from qnerf.reports.bootstrap import LEAST_SCENES, mean_interval, ratio_interval, student_quantile, tails


def figures(psnr: float, moved: float, floor: float = 0.02) -> dict[str, float]:
    return {"psnr_object": psnr, "warp_error_moved": moved, "warp_error_moved_floor": floor}


def cell(scene: str, detail: str, independent: dict[str, float], full: dict[str, float], oracle: dict[str, float]) -> BenchmarkCell:
    found = {"independent": independent, "full": full, "oracle": oracle}
    return BenchmarkCell(scene, scene.split("_")[0], detail, Path("unused"), found)


def kinds_of_cells(rows: list[Row], name: str) -> list[str]:
    return [kind for row in marked(rows, name) for _, kind in row]


CELLS = [
    cell("lamp_1", "joints", figures(20, 0.12), figures(20.5, 0.10), figures(22, 0.04)),
    cell("lamp_1", "ends", figures(18, 0.22), figures(19, 0.12), figures(21, 0.07)),
    cell("toy_1", "joints", figures(24, 0.025), figures(24, 0.025), figures(25, 0.02)),
]


def test_gains_by_hand() -> None:
    found = {row.name: row.estimates for row in gains(CELLS)}
    assert found["independent"]["psnr_object"].value == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    assert found["independent"]["warp_error_moved"].value == pytest.approx((0.02 + 0.10) / (0.10 + 0.20 + 0.005))
    assert found["oracle"]["psnr_object"].value == pytest.approx((-1.5 - 2 - 1) / 3)
    assert found["oracle"]["warp_error_moved"].value == pytest.approx((-0.06 - 0.05 - 0.005) / (0.02 + 0.05 + 0))
    assert "full" not in found


def test_the_share_of_the_oracle_by_hand() -> None:
    [found] = [row.estimates for row in shares_of_oracle(CELLS) if row.name == "full"]
    assert found["psnr_object"].value == pytest.approx(1.5 / 6)
    assert found["warp_error_moved"].value == pytest.approx(0.12 / (0.08 + 0.15 + 0.005))
    alone = [BenchmarkCell(c.scene, c.kind, c.detail, c.folder, {"independent": {}, "full": {}}) for c in CELLS]
    assert shares_of_oracle(alone) == []
    assert shares_of_oracle([]) == []


def test_the_share_of_what_agreement_could_give_by_hand() -> None:
    """Half of the error is the views' own: agreement could give 3.01 dB; taking half of it away gives 1.25, all of it all."""
    parts = {"independent": (0.01, 0.01), "one_shot": (0.01, 0.0), "full": (0.01, 0.005), "oracle": (0.002, 0.002)}
    found = {m: figures(20, 0.1) | {"error_of_mean": s, "error_about_mean": o} for m, (s, o) in parts.items()}
    cells = [BenchmarkCell(f"toy_{i}", "toy", "ends", Path("unused"), found) for i in range(6)]
    shares = {row.name: row.estimates["of_agreement"].value for row in shares_of_oracle(cells)}
    assert shares["one_shot"] == pytest.approx(1)
    assert shares["full"] == pytest.approx(math.log10(4 / 3) / math.log10(2))
    [gone] = [row.estimates["error_about_mean"] for row in gains(cells) if row.name == "independent"]
    assert gone.value == pytest.approx(0.5)
    found_tables = tables(cells)
    assert "| 0.00500 [0.00500, 0.00500] |" in to_markdown(found_tables["means"], "means")
    assert "| 0.500 [0.500, 0.500] |" in to_markdown(found_tables["gains"], "gains")
    assert "best" not in kinds_of_cells(found_tables["gains"], "gains"), "a part of an error is neither good nor bad by itself"


def test_a_method_that_changes_nothing_gains_nothing() -> None:
    same = [cell(f"lamp_{i}", "ends", figures(20 + i, 0.1), figures(20 + i, 0.1), figures(21, 0.05)) for i in range(6)]
    for found in next(row for row in gains(same) if row.name == "independent").estimates.values():
        assert (found.value, found.low, found.high) == (0, 0, 0)
        assert not found.excludes_zero


def test_grades_go_from_tight_to_loose_and_each_counts_its_own_cells() -> None:
    rows = over_looseness([*reversed(CELLS)])
    assert [row.name for row in rows] == ["joints", "ends"]
    assert rows[1].estimates["warp_error_moved"].value == pytest.approx(0.5)
    assert "joints to ends" in looseness_chart(rows)
    at_its_floor = cell("toy_2", "loose_depth", figures(24, 0.02), figures(24, 0.02), figures(25, 0.02))
    chart = looseness_chart(over_looseness([*CELLS, at_its_floor]))
    assert "nan" not in chart
    assert chart.count("<circle") == 2


def test_only_inconsistent_cells_count_towards_gains() -> None:
    assert [c.is_inconsistent for c in CELLS] == [True, True, False]
    found = tables(CELLS)
    assert next(row for row in found["gains"] if row.name == "independent").estimates["psnr_object"].value == pytest.approx(0.75)
    assert next(row for row in found["means"] if row.name == "full").estimates["psnr_object"].value == pytest.approx(63.5 / 3)
    assert [row.name for row in found["kinds"]] == ["lamp", "toy"]
    assert [row.name for row in found["methods"]] == ["full", "oracle"]
    assert found["methods"][0].estimates["psnr_object"].value == pytest.approx(0.75)
    assert [row.name for row in found["oracle"]] == ["full"]


def test_gains_are_bold_and_neither_losses_nor_figures() -> None:
    sure = [cell(f"lamp_{i}", "ends", figures(20, 0.1), figures(21, 0.05), figures(25, 0.03)) for i in range(6)]
    found = tables(sure)
    assert kinds_of_cells(found["gains"], "gains").count("best") == 2  # over the independent edit, not over the oracle
    assert "best" not in kinds_of_cells(found["means"], "means")


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Means of 30 scenes of three correlated cells: cells of a scene taken for independent would cover far less often."""
    rng, hits, naive = np.random.default_rng(3), 0, 0
    for _ in range(200):
        scene = rng.normal(1.0, 1.0, 30)
        values = np.repeat(scene, 3) + rng.normal(0, 0.1, 90)
        names = [f"s{i}" for i in range(30) for _ in range(3)]
        found = ratio_interval(values.tolist(), [1.0] * 90, names, draws=400)
        hits += found.low <= 1.0 <= found.high
        other = ratio_interval(values.tolist(), [1.0] * 90, [f"c{i}" for i in range(90)], draws=400)
        naive += other.low <= 1.0 <= other.high
    assert 0.88 < hits / 200 < 0.99
    assert naive / 200 < 0.85


@pytest.mark.parametrize("count", [6, 12])
def test_the_interval_covers_the_truth_with_few_scenes_too(count: int) -> None:
    rng = np.random.default_rng(5)
    names = [f"s{i}" for i in range(count)]
    found = [ratio_interval(rng.normal(1.0, 1.0, count).tolist(), [1.0] * count, names, draws=400) for _ in range(600)]
    assert 0.925 < np.mean([f.low <= 1.0 <= f.high for f in found]) < 0.975


def test_quantiles_of_students_distribution_are_those_of_tables() -> None:
    for freedom, value in ((5, 2.571), (11, 2.201), (30, 2.042), (100_000, 1.960)):
        assert student_quantile(0.975, freedom) == pytest.approx(value, abs=4e-3)
    assert tails(10**6) == pytest.approx((0.025, 0.975), abs=1e-4)


def test_few_scenes_say_little_of_others() -> None:
    for count in (1, 3, LEAST_SCENES - 1):
        found = mean_interval([1.0] * count, [f"s{i}" for i in range(count)])
        assert (found.value, found.low, found.high, found.count) == (1, -math.inf, math.inf, count)
        assert not found.excludes_zero
    assert mean_interval([1.0] * LEAST_SCENES, [f"s{i}" for i in range(LEAST_SCENES)]).excludes_zero
    assert math.isnan(ratio_interval([], [], []).value)


def test_a_share_of_nothing_is_no_figure() -> None:
    """A rival below its floor leaves nothing to take away: full, far above it, must not come out as the better one."""
    names = [f"s{i}" for i in range(8)]
    assert math.isnan(ratio_interval([-0.035] * 8, [-0.005] * 8, names).value)
    unsure = ratio_interval([0.01] * 8, [0.1, -0.09, 0.1, -0.09, 0.1, -0.09, 0.1, -0.09], names)
    assert not unsure.excludes_zero
    worse = [cell(f"lamp_{i}", "ends", figures(20, 0.1), figures(20, 0.05), figures(21, 0.015)) for i in range(8)]
    assert math.isnan({row.name: row.estimates for row in gains(worse)}["oracle"]["warp_error_moved"].value)
    assert "| - |" in to_markdown(gains(worse), "method").splitlines()[-1]


def test_tables_as_text() -> None:
    rows = gains(CELLS)
    assert to_markdown(rows, "method").splitlines()[0] == "| method | psnr_object | warp_error_moved |"
    found = list(csv.DictReader(io.StringIO(to_csv({"gains": rows}))))
    assert (found[0]["row"], found[0]["metric"], float(found[0]["value"])) == ("independent", "psnr_object", 0.5)
    assert methods_of(CELLS) == ["independent", "full", "oracle"]


def test_the_sheet_has_the_loosest_control_of_each_kind() -> None:
    assert [(c.scene, c.detail) for c in chosen_cells(CELLS)] == [("lamp_1", "ends"), ("toy_1", "joints")]


def test_cells_are_read_from_the_sweeps_results(tmp_path: Path) -> None:
    header = "scene.path,control.detail,scene,status,folder"
    columns = [f"methods.{m}.{k}" for m in ("independent", "full") for k in figures(0, 0)]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.json").write_text('{"control_detail": "ends"}')
    (tmp_path / "sweep.json").write_text('{"command": "", "swept": {"scene.path": ["x"]}, "cells": []}')
    done = f"x,ends,puppet_3,done,{tmp_path / 'run'}"
    (tmp_path / "results.csv").write_text(
        f"{header},{','.join(columns)}\n{done},20,0.1,0.02,21,0.08,0.02\nx,ends,toy_1,failed,/there,,,,,,\n"
    )
    (found,) = read_cells(tmp_path)
    assert (found.scene, found.kind, found.detail) == ("puppet_3", "figure", "ends")
    assert found.excess("full", "warp_error_moved") == pytest.approx(0.06)
    with pytest.raises(UserError, match="does not exist; expected the folder of a sweep"):
        read_cells(tmp_path / "nowhere")
    (tmp_path / "results.csv").write_text(f"{header},{columns[3]}\n{done},3\n")
    with pytest.raises(UserError, match="no independent edit"):
        read_cells(tmp_path)
    (tmp_path / "results.csv").write_text(f"{header},{columns[0]}\n{done},3\n")
    with pytest.raises(UserError, match="no figure warp_error_moved"):
        read_cells(tmp_path)
    (tmp_path / "results.csv").write_text(f"{header}\nx,ends,toy_1,failed,/there\n")
    with pytest.raises(UserError, match="no finished cell"):
        read_cells(tmp_path)
    (tmp_path / "results.csv").write_text(f"{header},{','.join(columns)}\n" + f"{done},20,0.1,0.02,21,0.08,0.02\n" * 2)
    with pytest.raises(UserError, match="two cells with puppet_3, ends"):
        read_cells(tmp_path)
    (tmp_path / "results.csv").write_text(f"scene,status,folder\ntoy_1,done,{tmp_path / 'gone'}\n")
    with pytest.raises(UserError, match="toy_1 has no grade of control"):
        read_cells(tmp_path)
    (tmp_path / "sweep.json").write_text('{"command": "", "swept": {"scene.path": ["x"], "guidance.strength": [".01", ".02"]}}')
    with pytest.raises(UserError, match=r"varies guidance\.strength, expected only control\.detail, scene\.path, seed"):
        read_cells(tmp_path)


def test_kept_results_of_two_sweeps_make_one_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whose run folders are gone: tables and chart of all cells, no sheet of pictures."""
    columns = [f"methods.{m}.{k}" for m in ("independent", "full") for k in figures(0, 0)]

    def keep(name: str, psnr: int, *rows: str, settings: str = "+exp=benchmark") -> None:
        (tmp_path / name).mkdir()
        commands = [
            {"command": f"python -m qnerf.run {settings} scene.path={row.replace(',', ' control.detail=')}"} for row in rows
        ]
        sweep = {"command": "", "swept": {"scene.path": [], "control.detail": []}, "cells": commands}
        (tmp_path / name / "sweep.json").write_text(json.dumps(sweep))
        lines = [f"{row},0,done,outputs/gone,20,0.1,0.02,{psnr},0.08,0.02" for row in rows]
        (tmp_path / name / "results.csv").write_text(
            "\n".join([f"scene,control.detail,seed,status,folder,{','.join(columns)}", *lines])
        )

    keep("kept", 21, "toy_1,ends", "toy_2,ends")
    keep("new", 22, "toy_2,ends", "toy_2,joints")
    found = {
        (cell.scene, cell.detail): cell.figures["full"]["psnr_object"] for cell in read_cells(tmp_path / "kept", tmp_path / "new")
    }
    assert found == {("toy_1", "ends"): 21, ("toy_2", "ends"): 22, ("toy_2", "joints"): 22}, (
        "of the same cell twice the last counts"
    )
    assert main([str(tmp_path / "kept"), str(tmp_path / "new")]) == 0
    assert "3 cells, 2 scenes; in 3 cells" in capsys.readouterr().out
    written = {path.name for path in (tmp_path / "new").iterdir()} - {"sweep.json", "results.csv"}
    assert written == {"benchmark.md", "benchmark.csv", "benchmark.html", "looseness.svg"}
    assert "the model's own pictures: these runs keep no pixels" in (tmp_path / "new" / "benchmark.md").read_text()
    keep("soft", 23, "toy_3,ends", settings="+exp=benchmark guidance=soft")
    with pytest.raises(UserError, match=r"soft was made with \+exp=benchmark guidance=soft, expected \+exp=benchmark as in .*kept"):
        read_cells(tmp_path / "kept", tmp_path / "soft")


def test_figures_with_and_without_kept_pixels_stand_beside_each_other_and_are_never_mixed(tmp_path: Path) -> None:
    """Of cells that keep pixels there are two sets of tables; kept results of other ones do not go into them."""
    columns = [f"{w}.{m}.{k}" for w in ("methods", "methods_as_decoded") for m in ("independent", "full") for k in figures(0, 0)]
    sweep = {"command": "", "swept": {"scene.path": [], "control.detail": []}, "cells": []}
    for name, share, scene in (("kept", "0.6", "toy_1"), ("plain", "", "toy_2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sweep.json").write_text(json.dumps(sweep))
        values = "24,0.1,0.02,25,0.08,0.02,20,0.1,0.02,21.5,0.08,0.02" if share else "20,0.1,0.02,21.5,0.08,0.02,,,,,,"
        lines = (
            f"scene,control.detail,status,folder,kept_share,{','.join(columns)}\n{scene},ends,done,outputs/gone,{share},{values}\n"
        )
        (tmp_path / name / "results.csv").write_text(lines)
    (kept,), (plain,) = read_cells(tmp_path / "kept"), read_cells(tmp_path / "plain")
    assert kept.keeps_pixels
    assert not plain.keeps_pixels
    assert kept.as_decoded == plain.figures
    assert plain.as_decoded == {}
    assert main([str(tmp_path / "kept")]) == 0
    found = list(csv.DictReader((tmp_path / "kept" / "benchmark.csv").open()))
    psnr = {row["table"]: float(row["value"]) for row in found if (row["row"], row["metric"]) == ("full", "psnr_object")}
    assert psnr["means"] == 25
    assert psnr["means_as_decoded"] == 21.5
    assert "(as decoded)" in (tmp_path / "kept" / "benchmark.html").read_text()
    with pytest.raises(UserError, match="some cells keep pixels of the source in their output and others do not"):
        read_cells(tmp_path / "kept", tmp_path / "plain")


def test_the_settings_of_a_run_from_before_pixels_were_kept(tmp_path: Path) -> None:
    plain = RunSettings.compose().model_dump(mode="json")
    (tmp_path / "config.yaml").write_text(json.dumps(plain))
    assert read_settings(tmp_path).output.keep_pixels
    del plain["output"], plain["control"]["shadow"], plain["metrics"]["decoded_groups"]
    (tmp_path / "config.yaml").write_text(json.dumps(plain))
    assert not read_settings(tmp_path).output.keep_pixels
