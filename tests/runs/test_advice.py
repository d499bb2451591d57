"""Advice that a run gives without being asked: neither an error nor a part of any result."""

import logging

import pytest
import torch

from qnerf.config import RunSettings
from qnerf.runs.foreign import warn_of_example_proxy
from qnerf.runs.pipeline import tell_of_busy_machine


def test_the_box_of_the_fox_is_not_taken_for_the_users_own(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_example_proxy(RunSettings.compose("+exp=capture", "scene.path=here", "scene.proxy=mine.json"))
    assert not [record for record in caplog.records if record.name.startswith("qnerf")]
    warn_of_example_proxy(RunSettings.compose("+exp=capture", "scene.path=here"))
    assert "set scene.proxy, scene.source_prompt and scene.target_prompt" in caplog.text


@pytest.mark.parametrize(("load", "threads", "told"), [(9.0, 2, True), (9.0, 1, False), (0.5, 2, False)])
def test_a_busy_machine_is_told_of(
    load: float, threads: int, told: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    with caplog.at_level(logging.INFO):
        tell_of_busy_machine()
    assert ("OMP_NUM_THREADS=1" in caplog.text) == told
