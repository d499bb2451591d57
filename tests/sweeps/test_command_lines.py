"""What a command line with several values, other flags and presets does: through `qnerf.run`'s own entry, in this process."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import pytest

from qnerf import validate
from qnerf.config import RunSettings
from qnerf.planning.cells import plan_command
from qnerf.run import CONFIGS, main
from qnerf.runs import pipeline
from qnerf.trackers.files import FilesTrackerSettings
from qnerf.trackers.tracker import TrackedRun, TrackerSettings
from tests.sweeps.conftest import made_up_run
from tests.trackers.helpers import Noting

DRY = "sweep.dry_run=true"


@pytest.fixture
def small(small: list[str]) -> list[str]:
    return [*small, "schedule.interval=2"]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of configs with an experiment that brings a grid."""
    (tmp_path / "own" / "exp").mkdir(parents=True)
    text = "# @package _global_\nexperiment: mine\nhydra: {sweeper: {params: {seed: '0,1'}}}\n"
    (tmp_path / "own" / "exp" / "mine.yaml").write_text(text)
    return tmp_path / "own"


class Command:
    """`qnerf run` in this process: its exit code and its words."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["qnerf run", *arguments])
        code = 0
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
        out, err = self.capsys.readouterr()
        return code, out, err


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setattr(pipeline, "run", made_up_run)
    return Command(monkeypatch, capsys)


def test_other_flags_beside_m_leave_the_sweep_ours(command: Command, own: Path, small: list[str]) -> None:
    flags = [f"--config-dir={own}", "--config-name", "config", "hydra/launcher=basic"]
    rest = ["-m", "+exp=mine", *small, DRY]
    code, out, err = command(*rest, *flags)
    assert (code, err) == (0, "")
    assert "2 cells: 2 new; 2 to run." in out


def test_a_sweep_of_another_config_name_keeps_its_table_and_names_its_command(
    command: Command, small: list[str], tmp_path: Path
) -> None:
    configs = shutil.copytree(CONFIGS, tmp_path / "conf")
    (configs / "config.yaml").rename(configs / "lab.yaml")
    code, *_ = command("hydra.mode=MULTIRUN", f"--config-path={configs}", "--config-name=lab", *small, "seed=range(2)")
    assert code == 0
    [table] = tmp_path.glob("sweeps/*/results.csv")
    assert [row["seed"] for row in csv.DictReader(table.open())] == ["0", "1"]
    assert "--config-name lab" in (table.parent / "sweep.json").read_text()


def test_globs_and_ranges_are_swept(command: Command, small: list[str]) -> None:
    code, out, _ = command("-m", *small, "guidance=glob([soft,hard])", "seed=range(0,4,2)", DRY)
    assert code == 0
    assert "4 cells: 4 new" in out


def test_hydras_own_sweeper_works_and_says_what_it_lacks(command: Command, small: list[str], tmp_path: Path) -> None:
    code, _, err = command("-m", *small, "hydra/sweeper=basic", "seed=0,1")
    assert code == 0
    assert err.count("hydra/sweeper=basic is Hydra's own way: no table of cells, no results.csv") == 1
    assert len(list(tmp_path.glob("articulation/*/done"))) == 2
    assert not list(tmp_path.glob("sweeps/*/results.csv"))
    code, _, err = command("-m", *small, "hydra/sweeper=basic", "seed=2,3", DRY)
    assert code == 2
    assert "sweep.dry_run: hydra/sweeper=basic cannot do that" in err
    code, _, err = command(*small, "seed=2", DRY)
    assert code == 2
    assert "sweep.dry_run: this is a single run, which would be computed" in err
    assert len(list(tmp_path.glob("articulation/*/done"))) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("+exp=[smoke,ablation_schedule] seed=1", "the experiment is a sweep (schedule: progressive,one_shot,independent,oracle)"),
        ("+exp=optuna_guidance", "give one value of each, such as guidance.strength=0.1 guidance.until=0.2 schedule.interval=2"),
        ("scene.target_prompt=a,b", """with a comma in it needs quotes of its own: "scene.target_prompt='a,b'"\n"""),
    ],
)
def test_a_grid_without_m_is_refused_by_runs_and_by_validate_in_one_sentence(
    words: str, sentence: str, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = command(*words.split(), f"output_dir={tmp_path}")
    assert code == 2
    assert sentence in err
    assert not list(tmp_path.iterdir())
    assert validate.main(words.split()) == 2
    assert capsys.readouterr().err == err


def test_a_value_of_every_key_makes_one_run_of_a_grid(command: Command, small: list[str], tmp_path: Path) -> None:
    words = ["+exp=ablation_guidance", "guidance=soft", "seed=1"]
    code, *_ = command(*words, *small)
    assert code == 0
    assert len(list(tmp_path.glob("ablation_guidance/*/done"))) == 1
    assert validate.main(words) == 0


def test_keys_of_a_preset_that_the_choice_lacks_are_left_out_with_a_word(
    command: Command, small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [word for word in small if not word.startswith(("schedule", "steps"))]
    code, _, err = command("+exp=smoke", "schedule=independent", *few)
    assert code == 0
    assert "qnerf: schedule.interval=2 is left out: schedule=independent does not have it" in err
    code, out, err = command("-m", "+exp=[smoke,ablation_schedule]", *few, "seed=0", DRY)
    assert code == 0
    assert "4 cells: 4 new" in out
    assert {line.split("left out: ")[1].split()[0] for line in err.splitlines()} == {"schedule=independent", "schedule=oracle"}
    assert RunSettings.compose("+exp=smoke", "schedule=independent").schedule.name == "independent"
    assert validate.main(["+exp=smoke", "schedule=independent"]) == 0
    assert "schedule.interval=2 is left out" in capsys.readouterr().err


def test_typed_keys_and_mistakes_in_a_preset_are_refused(command: Command, own: Path) -> None:
    code, _, err = command("+exp=smoke", "schedule=independent", "schedule.interval=3")
    assert (code, err.split(";")[0]) == (2, "qnerf: schedule.interval: unknown key")
    (own / "exp" / "typo.yaml").write_text("# @package _global_\nschedule: {intervall: 2}\n")
    code, _, err = command(f"--config-dir={own}", "+exp=typo")
    assert code == 2
    assert "schedule.intervall: unknown key" in err


def test_a_config_of_a_sweep_is_answered_with_the_command_of_one(command: Command) -> None:
    code, _, err = command("-m", "--cfg", "job", "seed=3,4", "guidance=glob(*)")
    assert code == 2
    advice = err.strip().split("write python -m qnerf.run ")[1].split()
    assert advice == ["--cfg", "job", "seed=3", "guidance=explained"]
    assert command(*advice)[0] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("guidance=soft,hrad", "guidance=hrad: there is no guidance/hrad.yaml in conf/; nearest valid: hard"),
        ("guidance=mixed,soft guidance.strength=0.1", "at guidance=soft: guidance.strength: this setting has a new name; write"),
        ("guidance=glob(*) guidance.until=1", "at guidance=off: guidance.until: unknown key"),
        ("output_dir=here,there", "output_dir: a sweep has one for all its cells, got here, there; expected a single value"),
    ],
)
def test_a_mistake_in_a_later_cell_is_a_sentence(words: str, sentence: str, command: Command, small: list[str]) -> None:
    code, _, err = command("-m", *small[:2], *words.split(), DRY)
    assert code == 2
    assert err.startswith(f"qnerf: {sentence}")
    problem = sentence.removeprefix("at guidance=soft: ").removeprefix("at guidance=off: ")
    assert any(error.startswith(problem) for error in plan_command([*small[:2], *words.split()], CONFIGS).errors), "validate's"


def test_advice_on_what_is_taken_out_works(command: Command) -> None:
    code, _, err = command("~baselines", "--info", "config")
    assert code == 2
    assert "write baselines=[] for none" in err
    assert "config: not a valid override" not in err
    assert command("baselines=[]", "--cfg", "job")[0] == 0


def test_finished_runs_and_cells_are_told_to_a_tracker_that_comes_later(
    command: Command, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files stand in for any tracker."""
    assert command("-m", *small, "seed=0,1")[0] == 0
    told: list[tuple[str, str | None, Noting]] = []

    def build(self: TrackerSettings, run: TrackedRun) -> Noting:
        told.append((run.label, run.sweep, Noting()))
        return told[-1][-1]

    monkeypatch.setattr(FilesTrackerSettings, "destination", lambda self, run: "somewhere")
    monkeypatch.setattr(FilesTrackerSettings, "build", build)
    code, _, err = command(*small, "seed=1")
    assert code == 0
    assert "Finished already" in err
    [(_, sweep, tracker)] = told
    assert sweep is None
    assert [what[0] for what in tracker.told] == ["log", "finish"]
    assert command("-m", *small, "seed=0,1")[0] == 0
    assert [(label, sweep is not None) for label, sweep, _ in told[1:]] == [("seed=0", True)], "the other has been told"
    assert command("-m", *small, "seed=0,1")[0] == 0
    assert len(told) == 2


def test_help_names_what_belongs_to_a_run(command: Command) -> None:
    code, out, _ = command("--help")
    assert code == 0
    assert "python -m qnerf.ls" in out
    assert not any(group in out for group in ("pretrain", "evaluate_backbone"))
    assert all(option in out for option in ("-m, --multirun", "--cfg job", "--config-dir FOLDER", "--hydra-help"))
    assert "Powered by Hydra" not in out
    code, _, err = command("--shell-completion", "install=bash")
    assert code == 2
    assert 'eval "$(qnerf completion bash)"' in err
