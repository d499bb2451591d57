"""Stage *time*: how fast, by part, what of it is spent where, and how much memory it takes.

How its 370 seconds are meant to be filled on an H100: estimates, at 8 ms a row of a pass of SD 1.5's size in half precision.

    field step, whole and by part, two or three encodings                   30 s
    loading and hashing the model                                           15 s
    inversion: 20 views × 50 steps × 1 row                                   8 s
    independent edit: × 3 rows, the source's and the edit's two controls    24 s
    posed edit: its source field 10 s, posing 5 s, inversion and steps      37 s
    full edit: × 6 rows, since guided steps are visited twice               48 s
        its fields: 3.8 × 5,000 iterations of 3 ms are 57 s, and at most    65 s
        its figures, report and queries                                     20 s
    diffusers' pipeline beside ours, 20 steps                               15 s
    a pass plainly and from a CUDA graph                                     6 s
    caps of 24, 16 and 12 GB, 4 steps each                                  40 s
    deterministic mode: passes, 300 field steps, two runs of 4 steps        35 s
    two equal runs, 4 steps each                                            20 s

Together 363 s. Of what is left, where *check* was quick or other stages are not asked for, a compiled pass takes 80 s.

cuBLAS's workspace is the reproducible one from the start, since it cannot be changed once the GPU is in use. On an H100
it is as large as PyTorch's own choice (32 MiB), so that the other rows do not suffer.
"""

from __future__ import annotations

import os

from benchmarks.bench_edit import EDIT, POSING
from benchmarks.bench_field import encodings, measure, whole_step
from benchmarks.gpu.beside import beside_diffusers, by_cap, equal_runs
from benchmarks.gpu.results import RESULTS, read
from benchmarks.gpu.stage import Stage, said
from benchmarks.gpu.ways import compiled, deterministic_mode, plain_and_graphed
from benchmarks.gpu.work import load_work, one_backbone, ready
from qnerf.determinism import REPRODUCIBLE, WORKSPACE
from qnerf.devices import pick_device

FIELD_ROWS = ("field.torch", "field.triton", "field.tinycudann")
FIELDS = 1 + 8 * 0.35
"""Trainings of a full edit of 50 steps in units of a first one: it trains 9 fields, all but the first for `schedule.warm_start`."""
FIELD_SECONDS = 65.0
"""What the fields of the full edit may take: iterations are fewer, and the time is scaled, where they would take longer."""
ITERATIONS = 5000  # of conf/field/sd15.yaml


def field_step(stage: Stage) -> None:
    """A training step of a query field as training runs it, and by part, for each encoding that this machine has."""
    device, here = pick_device("auto"), encodings(pick_device("auto"))
    iterations, rays, samples, settings = load_work(stage).field_step()
    for name in ("torch", "triton", "tinycudann"):
        if name not in here:
            stage.report(f"field.{name}", None, "not on this machine")
            continue
        with said("qnerf.fields.graphed") as sentences:
            whole = 1e3 * whole_step(name, device, iterations, rays, samples, settings)
        seconds, explained = measure(name, device, counted := max(iterations // 3, 4), rays, samples, settings)
        parts = {part: 1e3 * taken for part, taken in seconds.items()}
        graphed = "from a CUDA graph" if device.type == "cuda" else "no CUDA graph"
        size = [f"{rays} rays × {samples} samples"] if stage.toy else []
        apart = f"by part, run plainly, {sum(parts.values()):.2f} ms; R² {explained:.2f} after {counted} steps"
        stage.report(f"field.{name}", whole, "; ".join([" ".join(sentences) or graphed, *size, apart]), parts)


def whole_edit(stage: Stage) -> None:
    """Inversion and independent edit in one run, the posed and the full edit in others that find the inversion in the store."""
    work = load_work(stage)
    steps, size = (4, f"{work.views} views, 4 steps at 64 px") if stage.toy else (50, "")
    plain = work.run("whole", f"steps={steps}", "schedule=independent")
    seconds = plain["seconds"]
    stage.report("edit.inversion", seconds["inversion"], size)
    edit = {name: seconds[name] for name in (*EDIT, "decoding") if seconds.get(name)}
    stage.report("edit.independent", sum(edit.values()), f"{size}; {beside_it(seconds)}".strip("; "), edit)
    work.forget_recordings()
    posed = work.run("whole", f"steps={steps}", "schedule=transport", "schedule.consolidate_below=0", *work.source_field())
    edit = {name: posed["seconds"][name] for name in (*POSING, *EDIT, "decoding") if posed["seconds"].get(name)}
    stage.report("edit.posed", sum(edit.values()), f"{size}; {beside_it(posed['seconds'])}".strip("; "), edit)
    share = 1.0 if stage.toy else share_of_iterations(stage)
    iterations = 3 if stage.toy else round(share * ITERATIONS)
    work.forget_recordings()
    full = work.run("whole", f"steps={steps}", *work.consolidated(iterations))
    edit = {name: full["seconds"][name] for name in (*EDIT, "decoding") if full["seconds"].get(name)}
    edit["field training"] /= share
    scaled = f"fields of {iterations} iterations, their time scaled from {share:.0%}" if share < 1 else ""
    note = "; ".join(filter(None, (size, scaled, beside_it(full["seconds"]))))
    stage.report("edit.full", sum(edit.values()), note, edit)
    peaks = {name: peak / 1024 for name, peak in full["gpu"].items()}
    if peaks:
        where = max(peaks, key=peaks.__getitem__)
        stage.report("edit.peak", peaks[where], f"in {where}; chunks of {full['chunk']}")
    else:
        stage.report("edit.peak", full["peak_mib"] / 1024, "of the process: no GPU")


def share_of_iterations(stage: Stage) -> float:
    """How many of a field's iterations fit into `FIELD_SECONDS`, by the step that was measured, as a share."""
    found = read(stage.out / RESULTS).found
    steps = [found[row]["value"] for row in FIELD_ROWS if row in found and found[row]["value"]]
    return min(1.0, FIELD_SECONDS / (FIELDS * ITERATIONS * min(steps) / 1e3)) if steps else 0.2


def beside_it(seconds: dict[str, float]) -> str:
    """What of a run is not counted as the edit."""
    other = {name: taken for name, taken in seconds.items() if name not in (*POSING, *EDIT, "decoding", "inversion")}
    return f"beside it {sum(other.values()):.1f} s of reconstruction, figures and report"


def main() -> None:
    stage = Stage.from_command_line()
    os.environ.setdefault(WORKSPACE, REPRODUCIBLE[0])
    ready(stage)
    with one_backbone():
        stage.part("field", FIELD_ROWS, 20, field_step)
        stage.part("edit", ("edit.inversion", "edit.independent", "edit.posed", "edit.full", "edit.peak"), 90, whole_edit)
        stage.part("diffusers", ("diffusers",), 20, beside_diffusers)
        stage.part("passes", ("pass.plain", "pass.graph"), 10, plain_and_graphed)
        stage.part("caps", ("cap.24", "cap.16", "cap.12"), 30, by_cap)
        stage.part("deterministic", ("deterministic.pass", "deterministic.field", "deterministic.pixels"), 30, deterministic_mode)
        stage.part("spread", ("spread.time", "spread.pixels"), 20, equal_runs)
        stage.part("compile", ("pass.compile",), 80, compiled)


if __name__ == "__main__":
    main()
