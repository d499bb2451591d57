"""What `make gpu` finds: rows of one table, JSON lines as they come, and the table that docs/gpu.md holds.

Only the standard library: it is read before any wheel is in its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

RESULTS, PAGE = "results.jsonl", "gpu.md"  # files of the output folder
NOT_RUN = "not run"


@dataclass(frozen=True)
class Row:
    """A line of the table. bar: the most that is good enough, in the row's unit; None where there is none."""

    name: str
    what: str
    unit: str = ""
    digits: int = 1
    bar: float | None = None


SIZE = "20 views, 50 steps"
PASS = "SD 1.5's size, U-Net and ControlNet pass, by view"
MODE = "deterministic mode"
TABLE = (
    Row("tests", "check: tests marked `gpu` that failed", "", 0, bar=0),
    Row("field.torch", "field step, 4,096 rays × 48 samples, 16 levels: plain torch", "ms", 2),
    Row("field.triton", "field step, 4,096 rays × 48 samples, 16 levels: Triton", "ms", 2, bar=5),
    Row("field.tinycudann", "field step, 4,096 rays × 48 samples, 16 levels: tiny-cuda-nn", "ms", 2),
    Row("edit.inversion", f"SD 1.5's size, {SIZE}: inversion", "s"),
    Row("edit.independent", f"SD 1.5's size, {SIZE}: independent edit, inversion cached", "s"),
    Row("edit.posed", f"SD 1.5's size, {SIZE}: posed edit (the default), inversion cached", "s"),
    Row("edit.full", f"SD 1.5's size, {SIZE}: full edit, inversion cached", "s", bar=120),
    Row("edit.peak", "SD 1.5's size, full edit: peak memory", "GiB", 2),
    Row("diffusers", "independent edit over diffusers' ControlNet pipeline, by view and step", "×", 3, bar=1.05),
    Row("pass.plain", f"{PASS}: plain", "ms", 2),
    Row("pass.graph", f"{PASS}: CUDA graph", "ms", 2),
    Row("pass.compile", f"{PASS}: torch.compile", "ms", 2),
    Row("cap.24", "full edit under a cap of 24 GB: peak memory", "GiB", 2, bar=24),
    Row("cap.16", "full edit under a cap of 16 GB: peak memory", "GiB", 2, bar=16),
    Row("cap.12", "full edit under a cap of 12 GB: peak memory", "GiB", 2, bar=12),
    Row("spread.time", "two equal runs: difference of their times", "%"),
    Row("spread.pixels", "two equal runs: mean difference of their pixels, of 255", "", 3),
    Row("deterministic.pass", f"{MODE}: a pass over the usual one, time", "×", 2),
    Row("deterministic.field", f"{MODE}: a field step over the usual one, time", "×", 2),
    Row("deterministic.pixels", f"{MODE}, two equal runs: largest difference of their pixels, of 255", "", 0, bar=0),
    Row("train.decoder.rate", "decoder's training", "samples/s", 0),
    Row("train.decoder.gain", "decoder's held-out round trip, gain", "dB", 3),
    Row("train.diffusion.rate", "U-Net's training, with its ControlNets", "samples/s", 0),
    Row("train.diffusion.gain", "U-Net's held-out error of the noise, gain", "%", 2),
)
ROWS = {row.name: row for row in TABLE}


@dataclass
class Results:
    """about: card, date, commit, command and so on. found: each row's last line. begun: parts and the rows that they owe."""

    about: dict[str, str] = field(default_factory=dict)
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    begun: dict[str, list[str]] = field(default_factory=dict)


def append(path: Path, line: Mapping[str, Any]) -> None:
    """One line of JSON at the end of a file, there at once for whoever reads it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read(path: Path) -> Results:
    """The lines of a results file; the last line of a row counts."""
    results = Results()
    for line in map(json.loads, path.read_text(encoding="utf-8").splitlines() if path.exists() else ()):
        if "about" in line:
            results.about = line["about"]
        elif "row" in line:
            results.found[line["row"]] = line
        else:
            results.begun[line["begun"]] = line["rows"]
    return results


def shares(parts: Mapping[str, float]) -> str:
    """Parts of a whole, the largest first: `backward 41 %, encoding 22 %`. Those below a hundredth are left out."""
    whole = sum(parts.values())
    ranked = sorted(parts.items(), key=lambda part: -part[1])
    return ", ".join(f"{name} {value / whole:.0%}".replace("%", " %") for name, value in ranked if value >= 0.01 * whole)


def as_table(found: Mapping[str, Mapping[str, Any]], rows: Sequence[Row] = TABLE) -> str:
    """The Markdown table: every row, whether it was measured or not."""
    lines = ["| what | measured | bar | of that; how |", "|---|---|---|---|"]
    for row in rows:
        line = found.get(row.name)
        notes = [] if line is None else [line.get("note") or "", shares(line.get("parts") or {})]
        lines.append(f"| {row.what} | {_measured(row, line)} | {_bar(row, line)} | {'; '.join(filter(None, notes))} |")
    return "\n".join(lines)


def rows_of(card: str) -> list[Row]:
    """The table's rows; those of a rehearsal have no bars, since toys meet any."""
    return [replace(row, bar=None) if card == "CPU" else row for row in TABLE]


def _measured(row: Row, line: Mapping[str, Any] | None) -> str:
    if line is None:
        return NOT_RUN
    return "–" if line["value"] is None else f"{line['value']:.{row.digits}f} {row.unit}".strip()


def _bar(row: Row, line: Mapping[str, Any] | None) -> str:
    if row.bar is None:
        return ""
    bar = f"≤ {row.bar:g} {row.unit}".strip()
    if line is None or line["value"] is None:
        return bar
    return f"{bar}: {'met' if line['value'] <= row.bar else 'missed'}"


def as_section(results: Results) -> str:
    """A section of docs/gpu.md: what ran where, and the table."""
    about = results.about
    heading = f"## {about['card']}, {about['date']}, commit {about['commit']}"
    details = "; ".join(f"{key} {value}" for key, value in about.items() if key not in ("card", "date", "commit", "command"))
    return f"{heading}\n\n`{about['command']}` ({details})\n\n{as_table(results.found, rows_of(about['card']))}\n"


def table_rows(text: str) -> Iterable[list[str]]:
    """The first column of each table in a Markdown text."""
    names: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("| "):
            names.append(line.split("|")[1].strip())
        elif names and not line.startswith("|---"):
            yield names[1:]
            names = []
