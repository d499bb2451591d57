import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from qnerf import dashboard
from qnerf.common.installation import install_command
from tests.reports.comparison.synthetic import make_sweep
from tests.trackers.standin import serve

ROOT = Path(__file__).parents[1]


def test_the_workspace_compares_the_keys_and_shows_views_and_fields() -> None:
    pytest.importorskip("wandb_workspaces")
    workspace = dashboard.build_workspace("me", "qnerf", ["guidance.strength", "guidance.name"])
    text = json.dumps(workspace._to_model().model_dump(mode="json"))
    assert [section.name for section in workspace.sections] == ["The sweep", "Views", "The query fields", "While runs work"]
    for key in (
        "guidance.strength",
        "guidance.name",
        "full/warp_error_moved",
        "full/queries",
        "full/preview",
        "contact_sheet",
        "full/r2",
    ):
        assert key in text


def test_a_sweeps_view_shows_its_own_runs_alone() -> None:
    pytest.importorskip("wandb_workspaces")
    workspace = dashboard.build_workspace("me", "qnerf", ["guidance.strength", "schedule.interval"], "smoke-1a2b")
    text = json.dumps(workspace._to_model().model_dump(mode="json"))
    assert workspace.name == "qnerf: smoke-1a2b"
    assert '"value": "smoke-1a2b"' in text
    assert "full/warp_error_moved over guidance.strength and schedule.interval" in text
    everything = dashboard.build_workspace("me", "qnerf", ["seed"])
    assert "smoke" not in json.dumps(everything._to_model().model_dump(mode="json"))


@pytest.mark.integration
def test_a_second_call_renews_the_view_and_the_report_that_the_first_has_made(tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces")
    folder = make_sweep(tmp_path)
    with serve() as (server, environment):
        command = [sys.executable, "-m", "qnerf.dashboard", "me/qnerf", str(folder)]
        said = [subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout for _ in "ab"]
        view, report = json.loads((folder / "dashboard.json").read_text())["me/qnerf"].values()
        assert [each.split() for each in said] == [[view, report]] * 2
        name = f"qnerf: {folder.name}"
        assert server.saved == [("new", name), ("new", name), ("renewed", name), ("renewed", name)]
        assert [each["type"] for each in server.views.values()] == ["project-view", "runs/draft"]
        text = list(server.views.values())[1]["spec"]
    assert "python -m qnerf.run -m +exp=ablation" in text
    assert folder.name in text
    assert "of 20 cells with figures, at guidance.strength=0.04 schedule.interval=3" in text


def test_a_view_that_is_gone_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ws = pytest.importorskip("wandb_workspaces.workspaces")

    def gone(url: str) -> object:
        raise ValueError("not found")

    (tmp_path / "dashboard.json").write_text('{"me/qnerf": {"view": "https://wandb.ai/old"}}')
    monkeypatch.setattr(ws.Workspace, "from_url", staticmethod(gone))
    monkeypatch.setattr(ws.Workspace, "save", lambda workspace: None)
    monkeypatch.setattr(ws.Workspace, "url", "https://wandb.ai/new")
    made = dashboard.build_workspace("me", "qnerf", ["seed"], "smoke-1a2b")
    assert dashboard.save_once("view", made, tmp_path) == "https://wandb.ai/new"
    assert "https://wandb.ai/old cannot be read (not found); making another" in capsys.readouterr().err
    assert json.loads((tmp_path / "dashboard.json").read_text()) == {"me/qnerf": {"view": "https://wandb.ai/new"}}


def test_swept_choices_are_compared_by_name() -> None:
    assert dashboard.config_keys(["guidance", "guidance.strength", "seed"]) == ["guidance.name", "guidance.strength", "seed"]


@pytest.mark.parametrize("arguments", [[], ["qnerf"], ["me/"], ["me/qnerf", "a", "b"]])
def test_what_is_no_project_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert dashboard.main(arguments) == 2
    assert "qnerf: expected entity/project" in capsys.readouterr().err


def test_a_folder_that_is_no_sweep_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dashboard.main(["me/qnerf", str(tmp_path)]) == 2
    assert "has no sweep.json" in capsys.readouterr().err


def test_the_address_is_printed_and_a_refusal_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise ConnectionError("no route to host\nand more")

    def offer(save: object) -> None:
        made = SimpleNamespace(save=save, url="https://wandb.ai/x", entity="me", project="qnerf")
        monkeypatch.setattr(dashboard, "build_workspace", lambda *_: made)

    offer(lambda: None)
    assert dashboard.main(["me/qnerf"]) == 0
    assert capsys.readouterr().out == "https://wandb.ai/x\n"
    offer(refuse)
    assert dashboard.main(["me/qnerf"]) == 2
    error = capsys.readouterr().err
    assert "did not accept the workspace for me/qnerf (no route to host)" in error
    assert len(error.splitlines()) == 1


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    assert dashboard.main(["me/qnerf"]) == 2
    assert f"which is not installed: {install_command('dashboard')}" in capsys.readouterr().err
