"""Everything that is wrong with a command line, or what it would cost: `python -m qnerf.validate -m +exp=ablation_guidance`.

Takes what `qnerf.run` takes, with -m for a sweep, and starts nothing: no model is loaded and no image is read.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from qnerf.backbones.backbone import MEASURED_GPU
from qnerf.composing.grids import several_values, unfilled_grid
from qnerf.composing.overrides import is_sweep_override
from qnerf.composing.search_path import with_search_path
from qnerf.errors import UserError, told_in_a_sentence
from qnerf.planning.cells import Plan, plan_command
from qnerf.planning.cost import Estimate, estimate_cost, on_gpu
from qnerf.planning.light_checks import check_files, file_notes
from qnerf.planning.units import GIB, MIB
from qnerf.reports.results import unescaped
from qnerf.run import CONFIGS, USER_ERROR
from qnerf.runs.progress import format_seconds
from qnerf.sweeps.command import FLAGS

USAGE = "Usage: python -m qnerf.validate +exp=<name> [key=value …] | -m [key=a,b …], with the same words as python -m qnerf.run."


def main(arguments: Sequence[str]) -> int:
    """0: the command line is good, and its cost is printed; 2: every error is, a line each."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    return told_in_a_sentence(lambda: _validate(arguments))


def _validate(arguments: Sequence[str]) -> int:
    try:
        given = with_search_path(arguments)
        plan = plan_command(given, CONFIGS)
        if unasked := _unasked_sweep(given, plan):
            plan = Plan({}, (), tuple(error for error in plan.errors if error not in unasked))
        errors = [*unasked, *plan.errors, *check_files(plan.cells)]
        notes = [*plan.notes, *file_notes(plan.cells)]
    except UserError as error:
        plan, errors, notes = Plan({}, (), ()), [str(error)], []
    for line in (*notes, *errors):
        print(f"qnerf: {line}", file=sys.stderr)
    if errors:
        return USER_ERROR
    estimate = estimate_cost(plan.cells)
    print(describe_plan(plan))
    print(describe_cost(estimate, len(plan.cells)))
    if not estimate.on_gpu and (named := sorted({cell.device for cell in plan.cells if on_gpu(cell)})):
        print(f"No GPU was measured: on device={named[0]} the time is far less, and part of the memory is the host's.")
    free = free_bytes(Path(plan.cells[0].output_dir))
    if free < estimate.disk:
        print(f"Warning: {plan.cells[0].output_dir} has only {_size(free)} free; set output_dir=… to a larger disk.")
    return 0


def _unasked_sweep(arguments: Sequence[str], plan: Plan) -> list[str]:
    """What `qnerf.run` says to a command without -m that asks for several runs."""
    if set(FLAGS) & set(arguments):
        return []
    several = [several_values(override) for override in arguments if is_sweep_override(override)]
    grid = unfilled_grid(plan.grid, [override.split("=", 1)[0] for override in arguments])
    return [*several, *([grid] if grid and not several else [])]


def describe_plan(plan: Plan) -> str:
    """How many runs of which methods, and what is swept."""
    first = plan.cells[0]
    methods = ", ".join(first.methods())
    if not plan.swept:
        return f"Valid: 1 run of {first.experiment} by {methods}."
    swept = "\n".join(f"  {key}: {', '.join(map(unescaped, values))}" for key, values in plan.swept.items())
    return f"Valid: {len(plan.cells)} runs of {first.experiment} by {methods}, over\n{swept}"


def describe_cost(estimate: Estimate, runs: int) -> str:
    """The estimate in words, with what it rests on."""
    each = f" ({format_seconds(estimate.seconds / runs)} a run)" if runs > 1 else ""
    inversions = f"{estimate.shared_inversions} inversion{'s' if estimate.shared_inversions > 1 else ''}"
    needed = f"{_size(estimate.memory)} of memory at the peak of a run, {_size(estimate.disk)} of disk."
    doubted = (
        f"\nUp to {format_seconds(estimate.doubted)} more for query fields where posed views turn out not to be trusted "
        "(schedule.consolidate_below)."
        if estimate.doubted >= 0.1 * estimate.seconds
        else ""
    )
    if estimate.on_gpu:
        return (
            f"Estimate: {format_seconds(estimate.seconds)}{each} on an {MEASURED_GPU} with {inversions}, {needed}\n"
            "It is the one GPU whose passes and fields were timed: others take longer or shorter as they are fast in half "
            f"precision, part of the memory is the host's, and finished runs cost nothing.{doubted}"
        )
    return (
        f"Estimate: {format_seconds(estimate.seconds)}{each} on 2 CPU cores with {inversions}, {needed}\nScaled "
        "from the demo, where an independent edit took 22 s and a full one 79 s: another or a busy machine "
        f"differs, a GPU is far faster, and finished runs cost nothing.{doubted}"
    )


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that a folder lies on, or will lie on."""
    folder = folder.expanduser().resolve()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{max(1, round(count / MIB))} MiB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
