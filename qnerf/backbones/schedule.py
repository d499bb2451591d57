"""The noise schedule that a model was trained with, from its `scheduler_config.json`: all of it obeyed, or refused by name.

Needs no torch. The sampler that the file names is of no account: this project takes DDIM's steps, which are the same process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qnerf.backbones.part_configs import COUNT, NUMBER, Check, is_count, is_number, mistyped

SD_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "trained_betas": None,
    "rescale_betas_zero_snr": False,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "clip_sample": False,
    "thresholding": False,
}
"""Stable Diffusion 1.5's, for models in one file, which bring none. A scheduler's file fills in what it leaves out from here
only where every version of Stable Diffusion agrees (`AGREED`)."""

AGREED = ("trained_betas", "rescale_betas_zero_snr", "timestep_spacing", "steps_offset", "set_alpha_to_one", "thresholding")
NEEDED = ("num_train_timesteps", "beta_schedule", "beta_start", "beta_end")
"""Keys that change every step, so that no default may stand in for them."""

_KNOWN: dict[str, tuple[Any, ...]] = {
    "beta_schedule": ("scaled_linear", "linear", "squaredcos_cap_v2"),
    "prediction_type": ("epsilon", "v_prediction", "sample"),
    "timestep_spacing": ("leading", "trailing"),
    "clip_sample": (False,),
    "thresholding": (False,),
}
_BOOLEAN: Check = ("true or false", lambda v: isinstance(v, bool))
_TYPES: Mapping[str, Check] = {
    "num_train_timesteps": COUNT,
    "beta_start": NUMBER,
    "beta_end": NUMBER,
    "trained_betas": ("a list of numbers or null", lambda v: v is None or (isinstance(v, list) and all(map(is_number, v)))),
    "steps_offset": ("a whole number from 0 on", lambda v: v == 0 or is_count(v)),
    "rescale_betas_zero_snr": _BOOLEAN,
    "set_alpha_to_one": _BOOLEAN,
}
_WHY = {
    "clip_sample": "it clips latents as if they were pixels; set it to false in that file",
    "thresholding": "it clips latents as if they were pixels; set it to false in that file",
    "timestep_spacing": "set backbone.timestep_spacing=leading",
    "prediction_type": "set backbone.prediction_type, or correct that file",
    "beta_schedule": "give a model with one of these",
}


def complete_schedule(document: dict[str, Any], prediction: str = "auto", spacing: str = "auto") -> dict[str, Any]:
    """The schedule of a scheduler's file, whole, as `DiscreteProcess` reads it. prediction, spacing: in the file's place,
    unless auto."""
    given = {key: document[key] for key in SD_SCHEDULE if key in document}
    given.setdefault("prediction_type", "epsilon")  # files of Stable Diffusion 1 are older than the key
    given.setdefault("clip_sample", False)
    found = {**{key: SD_SCHEDULE[key] for key in AGREED}, **given}
    found |= {} if prediction == "auto" else {"prediction_type": prediction}
    return found | ({} if spacing == "auto" else {"timestep_spacing": spacing})


def schedule_problems(where: str, schedule: dict[str, Any]) -> list[str]:
    """What cannot be obeyed of a completed schedule, a sentence each. where: its file, for the sentences."""
    problems = [
        f"{where} has no {key}, which every step depends on: copy the scheduler's file that belongs to the model."
        for key in NEEDED
        if key not in schedule and not schedule.get("trained_betas")
    ]
    if wrong := mistyped(schedule, _TYPES):
        problems.append(f"{where} has {wrong}: copy the scheduler's file that belongs to the model.")
    for key, known in _KNOWN.items():
        value = schedule.get(key, known[0])
        if value not in known:
            expected = " or ".join(_text(v) for v in known)
            problems.append(f"{where} has {key} = {_text(value)}, expected {expected}: {_WHY[key]}.")
    return problems


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
