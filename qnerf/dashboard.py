"""The comparison of a sweep as a W&B workspace and the draft of a report, laid out by code:
`python -m qnerf.dashboard entity/project [SWEEP_FOLDER]`.

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
from qnerf.metrics.registry import leading, metric_of, show, title_of
from qnerf.reports.results import Sweep, read_sweep

USAGE = "Usage: python -m qnerf.dashboard entity/project [SWEEP_FOLDER]   (of a sweep: its own view and report, of its runs alone)"
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
SAVED = "dashboard.json"  # in the sweep's folder: the addresses of its view and report by project
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
        folder, sweep = Path(arguments[1]), read_sweep(Path(arguments[1]))
        workspace = build_workspace(entity, project, config_keys(list(sweep.swept)), sweep.name)
        print(save_once("view", workspace, folder))
        print(save_once("report", build_report(entity, project, sweep, workspace), folder))
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
    pictures = [
        wr.MediaBrowser(title=key, media_keys=[key]) for key in ("source", f"{MAIN_METHOD}/views", "contact_sheet", "orbit")
    ]
    pictures += [
        wr.MediaBrowser(title=f"{key}, a row a run", media_keys=[key], mode="grid", grid_x_axis="step", grid_y_axis="run")
        for key in (f"{MAIN_METHOD}/preview", f"{MAIN_METHOD}/queries")
    ]
    fields = [wr.LinePlot(title="R² of the fields, by layer", x="step", metric_regex=f"{MAIN_METHOD}/r2/.*")]
    fields.append(
        wr.LinePlot(title="What they do not explain of each step's queries", x="step", y=[f"{MAIN_METHOD}/step_disagreement"])
    )
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


def build_report(entity: str, project: str, sweep: Sweep, workspace: Any) -> Any:
    """A draft of a report on a sweep: its command, what it swept, its best cells in words, and the panels of its workspace."""
    _, wr = _libraries()
    over = [f"{key}: {', '.join(shown)}" for key, shown in sweep.swept.items()]
    runs = wr.Runset(entity=entity, project=project, name=sweep.name, filters=f"Metric('Group') = '{sweep.name}'")
    parts = [block for each in workspace.sections for block in (wr.H2(each.name), wr.PanelGrid(runsets=[runs], panels=each.panels))]
    return wr.Report(
        entity=entity,
        project=project,
        title=f"qnerf: {sweep.name}",
        description=f"A sweep of {len(sweep.cells)} cells over {', '.join(sweep.swept) or 'nothing'}.",
        blocks=[
            wr.P("The command, which computes no finished cell again:"),
            wr.CodeBlock(code=sweep.command, language=None),
            wr.P("Swept:"),
            wr.UnorderedList(items=over or ["nothing"]),
            wr.P("The best cells:"),
            wr.UnorderedList(items=best_cells(sweep) or ["no cell has figures yet"]),
            *parts,
        ],
    )


def best_cells(sweep: Sweep) -> list[str]:
    """The best cell by each leading figure, a sentence each."""
    found = []
    for key in FIGURES:
        known = [cell for cell in sweep.cells if key in cell.metrics]
        if known:
            choose = max if metric_of(key).better == "higher" else min
            best = choose(known, key=lambda cell: cell.metrics[key])
            values = " ".join(f"{name}={value}" for name, value in best.settings.items())
            found.append(f"{title_of(key)}: {show(key, best.metrics[key])}, of {len(known)} cells with figures, at {values}")
    return found


def save_once(kind: str, made: Any, folder: Path) -> str:
    """Saves the view or the report of a sweep: a new one the first time, and the same one ever after, whose address is in the
    sweep's folder."""
    where, path = f"{made.entity}/{made.project}", folder / SAVED
    try:
        saved = {key: dict(value) for key, value in read_json(path).items()}
    except (DamagedFile, AttributeError, TypeError, ValueError):
        saved = {}
    if address := saved.get(where, {}).get(kind):
        made = _renewed(made, str(address))
    url = save(made)
    write_json(path, {**saved, where: {**saved.get(where, {}), kind: url}})
    return url


def _renewed(made: Any, url: str) -> Any:
    """The view or report at an address with the contents of a new one; the new one itself where it is gone."""
    try:
        found = type(made).from_url(url)
    except Exception as error:  # wandb raises its own, requests' and plain ValueErrors
        print(f"qnerf: {url} cannot be read ({error}); making another", file=sys.stderr)
        return made
    for name in ("name", "sections", "runset_settings", "title", "description", "blocks"):
        if hasattr(made, name):
            setattr(found, name, getattr(made, name))
    return found


def save(workspace: Any) -> str:
    """Saves a workspace, or a report as a draft, at W&B and returns its address. Raises UserError where W&B cannot be reached or
    refuses."""
    try:
        workspace.save(**({"draft": True} if hasattr(workspace, "blocks") else {}))
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
