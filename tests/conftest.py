"""Shared by all tests: they run offline, on one thread, and GPU tests are skipped where there is no GPU."""

import logging
import os
import pickle
import sys
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

import omegaconf.omegaconf
import pytest
import torch
from torch import Tensor

from qnerf.scenes import kept
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Proxy

LEVEL = logging.root.level


@pytest.fixture(scope="session", autouse=True)
def _worked_out_once() -> Iterator[None]:
    """Hundreds of tests compose settings from the same files and edit the same few scenes. What a file's text says and where a
    scene's light is follow from their arguments alone, so that both are worked out once."""
    lights: dict[Any, Any] = {}
    texts: dict[str, bytes] = {}
    find_light, load = kept.find_light, omegaconf.omegaconf.yaml.load

    def light(proxy: Proxy, images: Tensor, cameras: Cameras, margin: float, zero: float = 0.0) -> Any:
        size = (cameras.width, cameras.height)
        states = (proxy.kind, proxy.bones, proxy.source_bounds is None, proxy.joints, margin, zero, size)
        tensors = (proxy.source, proxy.target, images, cameras.camera_to_world, cameras.focal, cameras.centre)
        if proxy.source_bounds is not None or any(each.device.type != "cpu" for each in tensors):
            return find_light(proxy, images, cameras, margin, zero)
        key = (states, *(each.numpy().tobytes() for each in tensors))
        if key not in lights:
            lights[key] = find_light(proxy, images, cameras, margin, zero)
        return lights[key]

    def loaded(stream: Any, Loader: Any) -> Any:  # as PyYAML names it
        if Loader.__qualname__.startswith("get_yaml_loader"):  # OmegaConf's, a new class for each file
            text = stream if isinstance(stream, str) else stream.read()
            if text not in texts:
                texts[text] = pickle.dumps(load(text, Loader=Loader))
            return pickle.loads(texts[text])
        return load(stream, Loader=Loader)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "find_light", light)
        if inverting := sys.modules.get("qnerf.runs.inverting"):  # of tests that edit; it imports the models' libraries
            patch.setattr(inverting, "find_light", light)
        patch.setattr(omegaconf.omegaconf.yaml, "load", loaded)
        yield


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
