"""The leaderboard: the shipped page is what its command writes, and no row stands beside one of other scenes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from qnerf.benchmark.__main__ import main
from qnerf.benchmark.leaderboard import leaderboard, of_record, of_sweep
from qnerf.errors import UserError
from tests.documents import ROOT

PAGE = ROOT / "docs" / "leaderboard.md"


def sweep(folder: Path, scenes: str, made: dict[str, list[str]] | None = None, floor: float = 0.02, psnr: float = 21) -> Path:
    """A kept sweep of two methods under one grade of control, which its command says."""
    folder.mkdir()
    columns = [
        f"methods.{m}.{k}" for m in ("independent", "full") for k in ("psnr_object", "warp_error_moved", "warp_error_moved_floor")
    ]
    lines = [f"{scene},done,outputs/gone,20,0.1,{floor},{psnr},0.08,{floor}" for scene in scenes.split()]
    (folder / "results.csv").write_text("\n".join([f"scene,status,folder,{','.join(columns)}", *lines]))
    record = {"command": "python -m qnerf.run -m control.detail=ends a='b|c'", "swept": {"scene.path": []}, "cells": []}
    (folder / "sweep.json").write_text(json.dumps(record | ({"made": made} if made else {})))
    return folder


def record(folder: Path, method: str, **changes: Any) -> Path:
    """What `qnerf measure` leaves of two views."""
    folder.mkdir()
    found = {
        "command": f"qnerf measure {method}", "views": ["a", "b"], "size": [64, 48], "truth": {"psnr_truth": 25.0},
        "geometry": {"tsed": 0.5, "heldout_psnr": None}, "source": {"tsed": 0.75},
        "capture": {"name": "procedural:lamp_1", "fingerprint": "0123456789abcdef"},
        "made": {"method": method, "commit": "abc", "weights": None, "date": "2026-11-28"},
    }  # fmt: skip
    (folder / "measure.json").write_text(json.dumps(found | changes))
    return folder


def rows(page: str) -> list[list[str]]:
    """Of all tables, heads among them, as cells."""
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in page.splitlines() if line.startswith("| ")]


def test_the_shipped_page_is_what_its_command_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From kept results alone; the command stands on the page, and written again nothing changes."""
    shipped = PAGE.read_text(encoding="utf-8")
    command = re.search(r"Written by `python -m qnerf.benchmark (.*) --leaderboard docs/leaderboard.md`", shipped)
    assert command is not None
    folders = command[1].split()
    assert {"experiments/consolidation/benchmark", "experiments/consolidation/posed"} <= set(folders)
    for folder in folders:
        (tmp_path / folder).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main([*folders, "--leaderboard", "docs/leaderboard.md"]) == 0
    assert (tmp_path / "docs" / "leaderboard.md").read_text(encoding="utf-8") == shipped


def test_kept_results_of_other_scenes_are_other_tables() -> None:
    """The figures are those of the kept tables; the two sweeps share scenes but not all of them."""
    page = PAGE.read_text(encoding="utf-8")
    parts = page.split("## Table ")[1:]
    assert len(parts) == 3
    assert ["`6374051`" in part for part in parts] == [True, False, False]
    assert ["`36d427a7eb78bd3f`" in part for part in parts] == [False, True, True]
    kept = (ROOT / "experiments" / "consolidation" / "benchmark" / "benchmark.md").read_text(encoding="utf-8")
    [full] = [line for line in parts[0].splitlines() if line.startswith("| full |")]
    [means] = [line for line in kept.split("\n## ")[1].splitlines() if line.startswith("| full |")]
    assert means.split(" | ")[1:6] == full.split(" | ")[1:6]


def test_sweeps_of_the_same_cells_share_a_table_and_others_do_not(tmp_path: Path) -> None:
    made = {"commit": ["abc"], "weights": ["w1", "w2"], "date": ["2026-11-28"]}
    one, same = sweep(tmp_path / "one", "toy_1 toy_2"), sweep(tmp_path / "same", "toy_1 toy_2", made, psnr=23)
    other, fewer_views = sweep(tmp_path / "other", "toy_1 toy_3"), sweep(tmp_path / "views", "toy_1 toy_2", floor=0.03)
    page = leaderboard([one, same, other, fewer_views], "…")
    assert page.count("## Table ") == 3
    first = rows(page.split("## Table ")[1])
    assert [row[0] for row in first] == ["method", "*floor or ceiling*", "full", "full", "independent", "independent"]
    assert [row[1] for row in first[2:4]] == ["21.00 (n = 2)", "23.00 (n = 2)"]
    assert first[1][:3] == ["*floor or ceiling*", "–", "0.020"]
    assert first[2][4:6] == ["not recorded", "not recorded"]
    assert first[3][4:7] == ["`abc`", "`w1, w2`", "2026-11-28"]
    assert first[3][7] == r"`python -m qnerf.run -m control.detail=ends a='b\|c'`"


def test_pictures_that_keep_pixels_have_a_table_of_their_own() -> None:
    scopes = [scope for scope, _ in of_sweep(ROOT / "experiments" / "consolidation" / "posed")]
    assert len({scope.key for scope in scopes}) == 2
    assert scopes[0].bounds == scopes[1].bounds


def test_a_record_of_measured_pictures_is_a_row(tmp_path: Path) -> None:
    mine, theirs = (
        record(tmp_path / "mine", "mine"),
        record(tmp_path / "theirs", "ours", source={"tsed": 0.7501, "heldout_psnr": 30.0}),
    )
    other = record(tmp_path / "other", "mine", capture={"name": "procedural:lamp_1", "fingerprint": "another"})
    views = record(tmp_path / "views", "mine", views=["a", "c"])
    page = leaderboard([mine, theirs, other, views], "…")
    assert page.count("## Table ") == 3
    head, bounds, *found = rows(page.split("## Table ")[1])
    tsed = next(place for place, label in enumerate(head) if "TSED" in label or "tsed" in label)
    assert [row[0] for row in found] == ["mine", "ours"]
    assert bounds[tsed] == "0.750"
    assert found[0][tsed] == "0.500 (n = 1)"
    assert found[0][-4:] == ["`abc`", "not recorded", "2026-11-28", "`qnerf measure mine`"]
    assert "## How to add a row" in page


def test_what_is_no_result_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has neither sweep\.json nor measure\.json"):
        leaderboard([tmp_path], "…")
    old = record(tmp_path / "old", "mine")
    (old / "measure.json").write_text('{"truth": {}}')
    with pytest.raises(UserError, match="has not all that a row needs, expected capture, command"):
        of_record(old / "measure.json")
    (old / "measure.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        of_record(old / "measure.json")
