"""Command lines: which of them are sweeps of ours. Imports nothing, since every run asks."""

from collections.abc import Sequence

COMMAND = "python -m qnerf.run"
FLAGS = ("-m", "--multirun")
SWEEPER = "hydra/sweeper"
GRID, SEARCH = "basic", "optuna"  # the sweepers that are carried out here; all others are Hydra's own business


def is_sweep(arguments: Sequence[str]) -> bool:
    """Whether a command line is a grid or a search of ours; other flags (--help, --cfg) and other sweepers are not."""
    flags = {argument for argument in arguments if argument.startswith("-")}
    sweepers = [argument.split("=", 1)[1] for argument in arguments if argument.startswith(f"{SWEEPER}=")]
    return bool(flags) and flags <= set(FLAGS) and all(sweeper == SEARCH for sweeper in sweepers)
