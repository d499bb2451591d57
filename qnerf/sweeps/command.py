"""What a command line asks for: one run, or a sweep. Imports nothing, since every run asks."""

COMMAND = "python -m qnerf.run"
FLAGS = ("-m", "--multirun")
SWEEPER = "hydra/sweeper"
GRID, SEARCH = "qnerf", "optuna"  # the sweepers that are carried out here; all others are Hydra's own business
UNMATCHED = r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema"
"""A warning of Hydra's. Our launchers' files are complete, so that it makes no difference whether it still matches them with the
plugins' schemas."""
