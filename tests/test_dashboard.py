import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from qnerf import dashboard
from qnerf.common.installation import install_command


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


def test_a_second_call_renews_the_view_that_the_first_has_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ws = pytest.importorskip("wandb_workspaces.workspaces")
    saved: list[str] = []

    def upsert(workspace: object) -> None:
        workspace._internal_name = workspace._internal_name or f"nw-view{len(saved)}-v"  # pyright: ignore[reportAttributeAccessIssue]
        saved.append(workspace._internal_name)  # pyright: ignore[reportAttributeAccessIssue]

    def found(url: str) -> object:
        made = dashboard.build_workspace("me", "qnerf", ["seed"])
        made._internal_name = saved[0]
        return made

    monkeypatch.setattr(ws.Workspace, "url", "https://wandb.ai/me/qnerf?nw=view")
    monkeypatch.setattr(ws.Workspace, "save", upsert)
    monkeypatch.setattr(ws.Workspace, "from_url", staticmethod(found))
    for keys in (["seed"], ["guidance.strength"]):
        dashboard.save_once(dashboard.build_workspace("me", "qnerf", keys, "smoke-1a2b"), tmp_path)
    assert saved[0] == saved[1]
    dashboard.save_once(dashboard.build_workspace("me", "other", ["seed"], "smoke-1a2b"), tmp_path)
    assert saved[2] != saved[0], "a view for each project"


def test_swept_choices_are_compared_by_name() -> None:
    assert dashboard.config_keys(["guidance", "guidance.strength", "seed"]) == ["guidance.name", "guidance.strength", "seed"]


@pytest.mark.parametrize("arguments", [[], ["qnerf"], ["me/"], ["me/qnerf", "a", "b"]])
def test_what_is_no_project_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert dashboard.main(arguments) == 2
    assert "qnerf: expected entity/project" in capsys.readouterr().err


def test_a_folder_that_is_no_sweep_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dashboard.main(["me/qnerf", str(tmp_path)]) == 2
    assert "sweep.json cannot be read" in capsys.readouterr().err


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
