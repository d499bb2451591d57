import json
from pathlib import Path

import pytest

from qnerf.errors import UserError
from qnerf.reports.results import cell_command, read_sweep

VALUES = {"guidance.strength": "0.01", "recorder": "decoder", "seed": "0"}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "python -m qnerf.run -m +exp=ablation guidance.strength=.01,.02 recorder=decoder,decoder_fine",
            "python -m qnerf.run +exp=ablation guidance.strength=0.01 recorder=decoder seed=0",
        ),
        ("python -m qnerf.run --multirun +exp=x", "python -m qnerf.run +exp=x guidance.strength=0.01 recorder=decoder seed=0"),
        ("qnerf.run 'a=b c' -m", "qnerf.run 'a=b c' guidance.strength=0.01 recorder=decoder seed=0"),
    ],
)  # fmt: skip
def test_the_command_of_a_cell(command: str, expected: str) -> None:
    assert cell_command(command, VALUES) == expected


def write(folder: Path, rows: str, swept: object) -> Path:
    (folder / "results.csv").write_text(rows)
    (folder / "sweep.json").write_text(json.dumps({"command": "python -m qnerf.run -m +exp=x", "swept": swept}))
    return folder


def test_values_are_in_the_sweeps_order_as_the_table_writes_them(tmp_path: Path) -> None:
    head = "guidance.strength,scene,seed,identity,folder,status,seconds,psnr,note"
    rows = f"{head}\n0.1,a,0,x,,done,5,nan,word\n0.02,a,0,y,,failed,,7.5,\n"
    sweep = read_sweep(write(tmp_path, rows, {"guidance.strength": [0.02, ".1"]}))
    assert sweep.swept == {"guidance.strength": ["0.02", "0.1"]}
    assert sweep.metrics == ["psnr"]
    assert [cell.metrics for cell in sweep.cells] == [{}, {"psnr": 7.5}]
    assert sweep.cells[0].seconds == 5
    assert sweep.cells[0].folder is None
    assert sweep.cells[1].command == "python -m qnerf.run +exp=x guidance.strength=0.02"


def test_values_are_shown_without_hydras_backslashes_and_commands_keep_them(tmp_path: Path) -> None:
    rows = "scene.path,scene,seed,identity,folder,status\nprocedural\\:lamp_1,lamp_1,0,x,,done\n"
    sweep = read_sweep(write(tmp_path, rows, {"scene.path": ["procedural\\:lamp_1"]}))
    assert sweep.swept == {"scene.path": ["procedural:lamp_1"]}
    assert sweep.cells[0].settings == {"scene.path": "procedural:lamp_1"}
    assert "procedural\\:lamp_1" in sweep.cells[0].command


def test_a_run_folder_named_from_where_the_sweep_started_is_found(tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "x" / "abc"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("seed: 0\n")
    sweep = tmp_path / "outputs" / "sweeps" / "now"
    sweep.mkdir(parents=True)
    write(sweep, "seed,scene,identity,folder,status\n0,a,abc,outputs/x/abc,done\n", {"seed": [0]})
    assert read_sweep(sweep).cells[0].folder == run


@pytest.mark.parametrize(
    ("rows", "swept", "expected"),
    [
        ("seed,scene\n0,a\n", {"seed": [0]}, "results.csv has no column identity, folder, status"),
        ("seed,scene\n", {"seed": [0]}, "results.csv has no rows; expected one for every cell"),
        ("seed\n0\n", {"seed": 0}, "sweep.json is not a sweep's record; expected"),
        ("seed\n0\n", None, "sweep.json is not a sweep's record; expected"),
    ],
)
def test_a_folder_that_is_no_sweep_is_told_in_a_sentence(tmp_path: Path, rows: str, swept: object, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        read_sweep(write(tmp_path, rows, swept))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no sweep\.json; expected the folder of a sweep"):
        read_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text('{"command": "", "swept": {}}')
    with pytest.raises(UserError, match=r"has no results\.csv; expected the folder of a sweep"):
        read_sweep(tmp_path)
