import logging
from pathlib import Path

import pytest

from qnerf.runs.logs import RunLog

log = logging.getLogger("qnerf.somewhere")


def test_lines_before_the_folder_is_known_come_first_in_its_log(tmp_path: Path) -> None:
    with RunLog() as run_log:
        log.warning("early [bold]")
        run_log.attach(tmp_path)
        log.info("late")
        assert "late" in (tmp_path / "run.log").read_text(), "the log can be followed while the run goes"
    text = (tmp_path / "run.log").read_text()
    assert text.index("early [bold]") < text.index("late")
    assert run_log.warnings == ["early [bold]"]


def test_an_error_ends_up_in_the_log_and_no_handler_stays(tmp_path: Path) -> None:
    def fail() -> None:
        with RunLog() as run_log:
            run_log.attach(tmp_path)
            raise ValueError("100 % broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert "ValueError: 100 % broken" in (tmp_path / "run.log").read_text()
    assert not logging.getLogger("qnerf").handlers


def test_two_runs_in_one_process_do_not_share_lines(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with RunLog() as run_log:
            run_log.attach(tmp_path / name)
            log.warning("of %s", name)
        assert run_log.warnings == [f"of {name}"]
    assert "of b" not in (tmp_path / "a" / "run.log").read_text()
