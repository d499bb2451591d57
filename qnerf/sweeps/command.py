"""Command lines: which of them are sweeps of ours. Imports nothing, since every run asks."""

from collections.abc import Sequence

COMMAND = "python -m qnerf.run"
FLAGS = ("-m", "--multirun")


def is_sweep(arguments: Sequence[str]) -> bool:
    """Whether a command line is a grid of ours; other flags (--help, --cfg) and other sweepers are Hydra's own business."""
    flags = {argument for argument in arguments if argument.startswith("-")}
    own_sweeper = not any(argument.startswith("hydra/sweeper=") for argument in arguments)
    return bool(flags) and flags <= set(FLAGS) and own_sweeper
