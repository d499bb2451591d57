"""The device that a setting names, for runs, trainings and evaluations."""

from __future__ import annotations

import torch
from torch import Tensor

from qnerf.errors import UserError

HOST = torch.device("cpu")
"""Where what belongs to all views lies that is large: trajectories, latents, queries. A chunk of it is on the device at a time."""


def pick_device(wanted: str, key: str = "device") -> torch.device:
    """`auto` is a CUDA GPU where there is one, else the CPU. key: the setting's name, for the error.

    Raises UserError where the device that is named is not there.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    count = torch.cuda.device_count() if device.type == "cuda" else int(torch.backends.mps.is_available())
    if device.type != "cpu" and (device.index or 0) >= count:
        raise UserError(
            f"{key}: {wanted} is not available (PyTorch finds {count} devices of this kind); set {key}=auto or {key}=cpu"
        )
    return device


def memory_gib(wanted: str) -> float | None:
    """All memory of the CUDA GPU that a setting names; None where it names none."""
    device = pick_device(wanted)
    return torch.cuda.get_device_properties(device).total_memory / 2**30 if device.type == "cuda" else None


def pinned_like(x: Tensor) -> Tensor:
    """Memory of the host for what is of x's shape and type, locked into place if x is on a CUDA GPU: copies from there and to there
    need not be waited for."""
    return torch.empty(x.shape, dtype=x.dtype, pin_memory=x.is_cuda)


def empty_at(home: torch.device, x: Tensor, views: int, device: torch.device) -> Tensor:
    """Memory at home, (views, ...), for parts like x, (some views, ...), that come from the device; locked like `pinned_like`'s."""
    pinned = device.type == "cuda" and home.type == "cpu"
    return torch.empty(views, *x.shape[1:], dtype=x.dtype, device=home, pin_memory=pinned)


def send(x: Tensor, device: torch.device) -> Tensor:
    """x on the device. From the host to a CUDA GPU it goes by way of locked memory, and nobody waits for it; x must not be changed
    while it may still be on the way, if it lies in such memory itself."""
    if device.type != "cuda" or x.device.type != "cpu":
        return x.to(device)
    staged = x if x.is_pinned() and x.is_contiguous() else torch.empty(x.shape, dtype=x.dtype, pin_memory=True).copy_(x)
    return staged.to(device, non_blocking=True)


def arrive(device: torch.device) -> None:
    """Waits for what was copied home from the device with `non_blocking`: before, the host must not read it."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
