"""The comparison of a sweep as a W&B workspace, laid out by code: `python -m qnerf.dashboard entity/project [SWEEP_FOLDER]`.

Runs must be there first: tracked online, or sent with `wandb sync`. Needs the package's extra `dashboard`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qnerf.common.files import DamagedFile, read_json, write_json
from qnerf.common.installation import install_command
from qnerf.config import MAIN_METHOD
from qnerf.errors import UserError, told_in_a_sentence
from qnerf.metrics.registry import leading
from qnerf.reports.results import read_sweep

USAGE = "Usage: python -m qnerf.dashboard entity/project [SWEEP_FOLDER]   (of a sweep: its own view, of its runs alone)"
SETTINGS = ("schedule.name", "schedule.interval", "guidance.name", "guidance.strength", "recorder.name", "inversion.name", "seed")
CHOICES = ("schedule", "guidance", "recorder", "inversion", "editor", "field", "metrics", "control", "scene")  # swept by name
SECONDS, LIVE = (
    "live/seconds",
    {
        "percent": "Percent done",
        "seconds_left": "Seconds left",
        "memory_gib": "Memory, GiB",
        "field_loss": "Loss of the query field",
    },
)
SAVED = "dashboard.json"  # in the sweep's folder: the address of its view by project
FIGURES = tuple(leading(group)[0] for group in ("consistency", "fidelity", "heldout"))


def main(arguments: Sequence[str]) -> int:
    """0: the workspace is saved, and its address printed; 2: an error that the user can correct, in one
    sentence."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    return told_in_a_sentence(lambda: _make(arguments), "make the sweep's folder one that can be written")


def _make(arguments: Sequence[str]) -> int:
    entity, project = parse_project(arguments)
    if len(arguments) == 1:
        print(save(build_workspace(entity, project, SETTINGS)))
    else:
        folder = Path(arguments[1])
        keys = config_keys(list(read_sweep(folder).swept))
        print(save_once(build_workspace(entity, project, keys, folder.resolve().name), folder))
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


def build_workspace(entity: str, project: str, keys: Sequence[str], sweep: str | None = None) -> Any:
    """A wandb_workspaces Workspace that compares runs by the config keys. sweep: the group whose runs it shows; None: all of the
    project's. Asks nothing of the network."""
    ws, wr = _libraries()
    figures = [f"{MAIN_METHOD}/{key}" for key in FIGURES]
    columns = [*(wr.ParallelCoordinatesPlotColumn(wr.Config(key)) for key in keys)]
    columns += [wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(key)) for key in figures]
    consistency, fidelity, _ = map(wr.SummaryMetric, figures)
    axes = [key for key in keys if key != "seed"][:2]
    over = [wr.Config(key) for key in axes]
    comparison = [
        *(
            [wr.ScatterPlot(title=f"{figures[0]} over {' and '.join(axes)}", x=over[0], y=over[1], z=consistency)]
            if sweep and len(axes) == 2
            else []
        ),
        wr.ScatterPlot(title="Consistency (left is better) against fidelity (up is better)", x=consistency, y=fidelity),
        wr.ParallelCoordinatesPlot(title="Settings and figures", columns=columns),
        *(wr.BarPlot(title=f"{figures[0]} by {key}", metrics=[figures[0]], groupby=wr.Config(key)) for key in keys),
    ]
    keys_of_pictures = ("source", f"{MAIN_METHOD}/views", "contact_sheet", f"{MAIN_METHOD}/queries")
    pictures = [wr.MediaBrowser(title=key, media_keys=[key]) for key in keys_of_pictures]
    fields = [wr.LinePlot(title="R² of the fields, by layer", x="step", metric_regex=f"{MAIN_METHOD}/r2/.*")]
    live = [wr.LinePlot(title=title, x=SECONDS, y=[f"live/{key}"]) for key, title in LIVE.items()]
    sections = {"The sweep": comparison, "Views": pictures, "The query fields": fields, "While runs work": live}
    filters = ws.And(ws.Metric("Group") == sweep) if sweep else ""
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"qnerf: {sweep}" if sweep else "qnerf: all runs",
        runset_settings=ws.RunsetSettings(filters=filters),
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()],
    )


def save_once(workspace: Any, folder: Path) -> str:
    """Saves the view of a sweep: a new one the first time, and the same one ever after, whose address is in the sweep's folder."""
    where, path = f"{workspace.entity}/{workspace.project}", folder / SAVED
    try:
        saved = dict(read_json(path))
    except (DamagedFile, TypeError, ValueError):
        saved = {}
    if where in saved:
        workspace = _renewed(workspace, str(saved[where]))
    url = save(workspace)
    write_json(path, {**saved, where: url})
    return url


def _renewed(workspace: Any, url: str) -> Any:
    """The view at an address with the contents of a new one; the new one itself where it is gone."""
    ws, _ = _libraries()
    try:
        found = ws.Workspace.from_url(url)
    except Exception as error:  # wandb raises its own, requests' and plain ValueErrors
        print(f"qnerf: the view {url} cannot be read ({error}); making another", file=sys.stderr)
        return workspace
    found.name, found.sections, found.runset_settings = workspace.name, workspace.sections, workspace.runset_settings
    return found


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
