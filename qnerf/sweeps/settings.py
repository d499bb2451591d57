"""Settings of a sweep (`-m`): how the same command goes on after a break. They change no result."""

from qnerf.settings import Settings


class SweepSettings(Settings):
    """retry_failed: run cells again that failed earlier. dry_run: show what would be run, and stop."""

    retry_failed: bool = True
    dry_run: bool = False
