"""The device that a setting names, for runs, trainings and examinations alike."""

from __future__ import annotations

import torch

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
        raise UserError(f"{key}: {wanted} is not there (PyTorch sees {count} of this kind); set {key}=auto or {key}=cpu")
    return device
