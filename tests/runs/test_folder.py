import errno
import fcntl
import multiprocessing
import os
from datetime import date
from pathlib import Path
from socket import gethostname

import pytest

from qnerf.common import files
from qnerf.errors import UserError, explain_os_error, told_in_a_sentence
from qnerf.runs.folder import RunFolder, note_failure, state_of
from qnerf.store.entry import Artefact
from qnerf.store.key import Key
from qnerf.store.store import Store


def test_a_run_is_new_then_partial_then_failed_then_done(tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert state_of(path).status == "new"
    with RunFolder(path) as folder:
        files.write_text(path / "config.yaml", "")
        assert state_of(path).status == "partial"
        note_failure(path, "out of memory")
        assert (state_of(path).status, state_of(path).reason) == ("failed", "out of memory")
        folder.mark_done("abc1234", "w")
    assert state_of(path).status == "done"
    assert state_of(path).seconds is not None
    assert state_of(path).made == {"commit": "abc1234", "weights": "w", "date": date.today().isoformat()}


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
        assert f"process {os.getpid()} on {gethostname()} is computing this run" in answer
        assert pool.apply(_try_to_enter, (tmp_path / "run",)) == "entered"


def test_a_folder_that_cannot_be_made_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be created"), RunFolder(tmp_path / "file" / "run"):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_one_sentence(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(UserError, match=r"files cannot be locked on this file system .*: set another output_dir=…"),
        RunFolder(tmp_path),
    ):
        pass
    with pytest.raises(UserError, match=r"files cannot be locked .*: set another store\.path=…"):
        Store(tmp_path).once(Key("edit", "0"), lambda: Artefact(record={}))


def test_a_limit_of_file_sizes_is_one_sentence() -> None:
    sentence = explain_os_error(OSError(errno.EFBIG, os.strerror(errno.EFBIG), "edited/000.png"))
    assert sentence is not None
    assert sentence.startswith("edited/000.png: a file would be larger than this system or `ulimit -f` allows; finished results")


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (
            errno.ENOSPC,
            "out/x: the disk is full; finished results are safe: free some space (qnerf store prune --max-gib …) or give "
            "another --out",
        ),
        (errno.EISDIR, "out/x: this is a folder, expected a file: correct the path"),
        (errno.ENOTDIR, "out/x: a part of this path is a file, expected a folder: correct the path"),
    ],
)
def test_a_command_tells_errors_of_disk_and_path_in_a_sentence(
    number: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(path: str | None = "out/x") -> int:
        raise OSError(number, os.strerror(number), path)

    assert told_in_a_sentence(fail, "give another --out") == 2
    assert sentence in capsys.readouterr().err
    with pytest.raises(OSError, match="read"):
        told_in_a_sentence(lambda: (_ for _ in ()).throw(OSError(errno.EIO, "cannot read")))


def test_where_the_system_has_no_flock_at_all_a_file_stands_for_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="flock"), RunFolder(tmp_path) as folder:
        folder.mark_done()
    assert state_of(tmp_path).status == "done"
