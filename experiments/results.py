"""What measuring scripts have in common: a results file with a line for each row on each image, and the table of its means."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

Found = Sequence[Mapping[str, str]]


def read(path: Path) -> list[dict[str, str]]:
    """The lines of a results file; none where there is no file yet."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lacking(path: Path, rows: Iterable[str], images: Iterable[int]) -> dict[int, list[str]]:
    """The rows that each image lacks, without the images that lack none. Images by the number in the file."""
    done, rows = {(found["row"], int(found["image"])) for found in read(path)}, list(rows)
    left = {number: [row for row in rows if (row, number) not in done] for number in images}
    return {number: missing for number, missing in left.items() if missing}


@contextmanager
def adding(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Adds lines to a results file, each there at once, so that what is broken off keeps what it has measured."""
    begun = path.exists() and path.stat().st_size > 0
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if not begun:
            writer.writeheader()

        def add(line: Mapping[str, Any]) -> None:
            writer.writerow(line)
            file.flush()

        yield add


def means(found: Found, rows: Iterable[str], figures: Iterable[str], first: str, counted: str = "images") -> str:
    """Means of figures over the images of each row that was measured, as Markdown. first, counted: heads of two columns."""
    figures = list(figures)
    lines = [f"| {first} | {counted} | {' | '.join(figures)} |", "|---|---|" + "---|" * len(figures)]
    for name in rows:
        if some := [each for each in found if each["row"] == name]:
            values = [f"{mean(float(each[figure]) for each in some):.2f}" for figure in figures]
            lines.append(f"| {name} | {len(some)} | {' | '.join(values)} |")
    return "\n".join(lines)
