"""The deterministic mode: what it sets, what it refuses, and the functions that it runs in others' place."""

import os
from collections.abc import Iterator

import pytest
import torch

from qnerf.determinism import WORKSPACE, running_sum, set_deterministic, triangle_sum
from qnerf.errors import UserError
from qnerf.fields.trunk import encoding_for

CUDA = torch.device("cuda")  # a name: nothing is put there


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    benchmark = torch.backends.cudnn.benchmark
    monkeypatch.setenv(WORKSPACE, ":4096:8")
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = benchmark


def test_it_is_switched_on_and_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKSPACE)
    set_deterministic(True)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ[WORKSPACE] == ":4096:8"
    assert not torch.backends.cudnn.benchmark
    set_deterministic(False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_another_workspace_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKSPACE, ":0:0")
    set_deterministic(False)
    with pytest.raises(UserError, match=r":0:0.*unset it"):
        set_deterministic(True)


def test_the_hash_grid_is_one_that_adds_in_order() -> None:
    assert encoding_for("auto", CUDA) == "auto"
    set_deterministic(True)
    assert encoding_for("auto", CUDA) == encoding_for("torch", CUDA) == "torch"
    assert encoding_for("warp", torch.device("cpu")) == "warp"
    with pytest.raises(UserError, match=r"'warp'.*not deterministic"):
        encoding_for("warp", CUDA)


def test_running_sums_are_the_usual_ones() -> None:
    x = torch.rand(20, 9, dtype=torch.float64)
    assert torch.equal(running_sum(x), x.cumsum(-1))
    torch.testing.assert_close(triangle_sum(x), x.cumsum(-1))
