"""Shared by all tests: they run offline, on one thread, and GPU tests are skipped where there is no GPU."""

import logging
import os
from collections.abc import Iterator

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

import pytest
import torch

LEVEL = logging.root.level


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_console_left() -> Iterator[None]:
    """Commands log to the console, and Hydra sets the root logger's level: a handler that stays would write to the console of a
    test that is over, and a level that stays would let other packages' words through."""
    logging.root.setLevel(LEVEL)
    before = list(logging.root.handlers)
    yield
    logging.root.setLevel(LEVEL)
    for handler in [h for h in logging.root.handlers if type(h) is logging.StreamHandler and h not in before]:
        logging.root.removeHandler(handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
