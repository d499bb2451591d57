"""The choice of a hash grid's implementation (`field.encoding`)."""

from __future__ import annotations

import importlib
import logging
import time
from functools import cache
from typing import Any

import torch
from torch import nn

from qnerf.errors import UserError
from qnerf.fields.encodings.hash_grid import Encode, HashGrid, TinyCudaGrid
from qnerf.fields.encodings.reference import encode_torch
from qnerf.fields.settings import EncodingName, EncodingSettings

log = logging.getLogger(__name__)

PROBE_SECONDS = 1.0
"""For each of the two candidates."""
PROBE_POINTS = 2**17
FASTER = 0.9
"""tiny-cuda-nn is taken where it needs at most this share of Triton's time, so that noise seldom changes the choice."""


def load_tinycudann() -> Any | None:
    """The package, or None where it is missing or sees no GPU (its import then raises EnvironmentError, not ImportError)."""
    try:
        return importlib.import_module("tinycudann")
    except (ImportError, OSError):
        return None


def load_warp() -> Encode | None:
    """The warp implementation, or None where warp-lang is not installed."""
    try:
        return importlib.import_module("qnerf.fields.encodings.warp_grid").encode_warp
    except ImportError:
        return None


@cache
def load_triton(device: torch.device) -> Encode | str:
    """The Triton implementation, or in words why it does not work on this device: one point is encoded to see."""
    try:
        module = importlib.import_module("qnerf.fields.encodings.triton_grid")
    except ImportError:
        return "Triton is not installed"
    if device.type != "cuda" and not module.INTERPRETED:
        return f"the device is {device.type}, where Triton needs a CUDA GPU"
    try:
        grid = HashGrid(EncodingSettings(levels=1, log2_table_size=4), module.encode_triton, seed=0).to(device)
        with torch.enable_grad():
            grid(torch.zeros(1, 3, device=device)).sum().backward()
    except Exception as error:  # whatever a compiler, a driver or an old GPU may raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return f"its kernels do not run on this machine ({reason})"
    return module.encode_triton


def build_encoding(settings: EncodingSettings, name: EncodingName, device: torch.device, seed: int) -> HashGrid | TinyCudaGrid:
    """The grid by the implementation of this name, on `device`. UserError where one that is asked for by name is not there."""
    if name == "tinycudann" or (name == "auto" and device.type == "cuda"):
        module = load_tinycudann() if device.type == "cuda" else None
        # pyright does not see that frozen settings are hashable
        if module is not None and (name == "tinycudann" or prefers_tinycudann(settings, device)):  # pyright: ignore[reportArgumentType]
            return TinyCudaGrid(module, settings, seed).to(device)
        if name == "tinycudann":
            raise UserError(
                "field.encoding is 'tinycudann', but the package does not load, or the device "
                f"({device.type}) is not a CUDA GPU; install it from its git repository, or set "
                "field.encoding=auto"
            )
    return HashGrid(settings, _function(name, device), seed).to(device)


def _function(name: EncodingName, device: torch.device) -> Encode:
    """What reads the table: of this name, or for `auto` Triton's on a GPU, else warp's, else torch's."""
    if name == "triton" or (name == "auto" and device.type == "cuda"):
        found = load_triton(device)
        if not isinstance(found, str):
            return found
        if name == "triton":
            raise UserError(f"field.encoding is 'triton', but {found}; set field.encoding=auto")
        _say_once(f"field.encoding=auto does not use Triton: {found}")
    encode = load_warp() if name in ("auto", "warp") else encode_torch
    if encode is None and name == "warp":
        raise UserError(
            "field.encoding is 'warp', but warp-lang is not installed; pip install warp-lang or set field.encoding=auto"
        )
    return encode or encode_torch


@cache
def _say_once(sentence: str) -> None:
    log.warning(sentence)


@cache
def prefers_tinycudann(settings: EncodingSettings, device: torch.device) -> bool:
    """Whether tiny-cuda-nn, which is installed, is to be taken: measured once per process and grid, for two seconds."""
    triton = load_triton(device)
    if isinstance(triton, str):
        return True
    grids = {"tinycudann": TinyCudaGrid(load_tinycudann(), settings, seed=0), "triton": HashGrid(settings, triton, seed=0)}
    seconds = {name: seconds_of(grid.to(device), device) for name, grid in grids.items()}
    chosen = "tinycudann" if seconds["tinycudann"] < FASTER * seconds["triton"] else "triton"
    log.info(
        "field.encoding=auto uses %s: %d points forward and backward take %.3f ms in tiny-cuda-nn and %.3f ms in Triton",
        chosen,
        PROBE_POINTS,
        *(1e3 * value for value in seconds.values()),
    )
    return chosen == "tinycudann"


@torch.enable_grad()
def seconds_of(grid: nn.Module, device: torch.device) -> float:
    """Of one forward and backward pass to the table: the mean of those that fit into the time, after two that compile."""
    positions = torch.rand(PROBE_POINTS, 3, generator=torch.Generator().manual_seed(0)).to(device)

    def once() -> None:
        grid.zero_grad()
        grid(positions).sum().backward()
        torch.cuda.synchronize(device)

    once()
    once()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < PROBE_SECONDS:
        once()
        count += 1
    return (time.perf_counter() - start) / count
