"""The comparison of a sweep as a W&B workspace, laid out by code: `python -m qnerf.dashboard entity/project [SWEEP_FOLDER]`.

Runs must be there first: tracked online, or sent with `wandb sync`. Needs the package's extra `dashboard`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qnerf.common.installation import install_command
from qnerf.config import MAIN_METHOD
from qnerf.errors import UserError
from qnerf.metrics.registry import leading
from qnerf.reports.results import read_sweep
from qnerf.run import USER_ERROR

USAGE = "Usage: python -m qnerf.dashboard entity/project [SWEEP_FOLDER]   (the folder names the swept settings to compare)"
SETTINGS = ("schedule.name", "schedule.interval", "guidance.name", "guidance.strength", "recorder.name", "inversion.name", "seed")
CHOICES = ("schedule", "guidance", "recorder", "inversion", "editor", "field", "metrics", "control", "scene")  # swept by name
FIGURES = tuple(leading(group)[0] for group in ("consistency", "fidelity", "heldout"))


def main(arguments: Sequence[str]) -> int:
    """0: the workspace is saved, and its address printed; 2: an error that the user can correct, in one
    sentence."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    try:
        entity, project = parse_project(arguments)
        keys = config_keys(list(read_sweep(Path(arguments[1])).swept)) if len(arguments) > 1 else list(SETTINGS)
        print(save(build_workspace(entity, project, keys)))
    except UserError as error:
        print(f"qnerf: {error}", file=sys.stderr)
        return USER_ERROR
    return 0


def parse_project(arguments: Sequence[str]) -> tuple[str, str]:
    """Entity and project. Raises UserError where the first argument is not `entity/project`."""
    parts = arguments[0].split("/") if arguments else []
    if len(parts) != 2 or not all(parts) or len(arguments) > 2:
        raise UserError(f"expected entity/project and at most one folder, got {' '.join(arguments) or 'nothing'}. {USAGE}")
    return parts[0], parts[1]


def config_keys(swept: Sequence[str]) -> list[str]:
    """The keys of a run's config that swept overrides set: a swept choice (`guidance=soft,hard`) shows by its name."""
    return [f"{key}.name" if key in CHOICES else key for key in swept]


def build_workspace(entity: str, project: str, keys: Sequence[str]) -> Any:
    """A wandb_workspaces Workspace that compares runs by the config keys. Asks nothing of the network."""
    ws, wr = _libraries()
    figures = [f"{MAIN_METHOD}/{key}" for key in FIGURES]
    columns = [*(wr.ParallelCoordinatesPlotColumn(wr.Config(key)) for key in keys)]
    columns += [wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(key)) for key in figures]
    consistency, fidelity, _ = map(wr.SummaryMetric, figures)
    comparison = [
        wr.ScatterPlot(title="Consistency (left is better) against fidelity (up is better)", x=consistency, y=fidelity),
        wr.ParallelCoordinatesPlot(title="Settings and figures", columns=columns),
        *(wr.BarPlot(title=f"{figures[0]} by {key}", metrics=[figures[0]], groupby=wr.Config(key)) for key in keys),
    ]
    keys_of_pictures = ("contact_sheet", f"{MAIN_METHOD}/queries")
    pictures = [wr.MediaBrowser(title=key, media_keys=[key]) for key in keys_of_pictures]
    fields = [wr.LinePlot(title="R² of the fields, by layer", x="step", metric_regex=f"{MAIN_METHOD}/r2/.*")]
    sections = {"The sweep": comparison, "Views": pictures, "The query fields": fields}
    return ws.Workspace(
        entity=entity,
        project=project,
        name="qnerf: comparison of a sweep",
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()],
    )


def save(workspace: Any) -> str:
    """Saves a workspace at W&B and returns its address. Raises UserError where W&B cannot be reached or refuses."""
    try:
        workspace.save()
        return str(workspace.url)
    except Exception as error:  # wandb raises its own, requests' and plain ValueErrors
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        where = f"{workspace.entity}/{workspace.project}"
        raise UserError(
            f"W&B did not accept the workspace for {where} ({reason}); expected one of your projects: "
            "log in with `wandb login`, and send offline runs first with `wandb sync`."
        ) from None


def _libraries() -> tuple[Any, Any]:
    try:
        return importlib.import_module("wandb_workspaces.workspaces"), importlib.import_module("wandb_workspaces.reports.v2")
    except ImportError:
        raise UserError(f"The dashboard needs wandb-workspaces, which is not installed: {install_command('dashboard')}") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
