import multiprocessing
from pathlib import Path

import pytest

from qnerf.common import files
from qnerf.errors import UserError
from qnerf.runs.folder import RunFolder, note_failure, state_of


def test_a_run_is_new_then_partial_then_failed_then_done(tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert state_of(path).status == "new"
    with RunFolder(path) as folder:
        files.write_text(path / "config.yaml", "")
        assert state_of(path).status == "partial"
        note_failure(path, "out of memory")
        assert (state_of(path).status, state_of(path).reason) == ("failed", "out of memory")
        folder.mark_done()
    assert state_of(path).status == "done"
    assert state_of(path).seconds is not None


def test_done_is_a_mark_that_outlives_the_lock(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        assert not folder.is_done
        folder.mark_done()
    with RunFolder(tmp_path / "run") as folder:
        assert folder.is_done


def _try_to_enter(path: Path) -> str:
    try:
        with RunFolder(path):
            return "entered"
    except UserError as error:
        return str(error)


def test_a_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    import os

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with RunFolder(tmp_path / "run"):
            answer = pool.apply(_try_to_enter, (tmp_path / "run",))
        assert f"process {os.getpid()} is computing this run" in answer
        assert pool.apply(_try_to_enter, (tmp_path / "run",)) == "entered"


def test_a_folder_that_cannot_be_made_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be created"), RunFolder(tmp_path / "file" / "run"):
        pass
