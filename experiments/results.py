"""What measuring scripts have in common: a results file with a line for each row on each image, the
table of its means, and the command line."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile
from statistics import mean
from typing import Any, Protocol

from qnerf.backbones.revision import weights_revision
from qnerf.config import RunSettings
from qnerf.errors import UserError
from qnerf.scenes.problems import brief

Found = Sequence[Mapping[str, str]]


def read(path: Path) -> list[dict[str, str]]:
    """The lines of a results file; none where there is no file yet."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not {"row", "image"} <= set(reader.fieldnames or ()):
            head = ",".join(reader.fieldnames or ())
            raise UserError(f"{path} begins with {brief(head)!r}, expected the columns of a study's results: give another folder.")
        return list(reader)


def begin_with_kept(path: Path, home: Path, columns: Sequence[str]) -> int:
    """Where a results file is not there yet, it begins with the lines that the repository keeps for
    the model's weights, home/kept/<revision>/<name>, if there are some. Returns how many.

    Raises UserError for a kept file of other columns.
    """
    kept = home / "kept" / f"{weights_revision(RunSettings.compose().backbone)}" / path.name
    if path.exists() or not kept.is_file():
        return 0
    with kept.open(encoding="utf-8") as file:
        head = file.readline().strip()
    if head != ",".join(columns):
        raise UserError(f"{kept} begins with {brief(head)!r}, expected {','.join(columns)}: remove it, or give --anew.")
    copyfile(kept, path)
    return len(read(path))


def lacking(path: Path, rows: Iterable[str], images: Iterable[int]) -> dict[int, list[str]]:
    """The rows that each image lacks, without the images that lack none. Images by the number in the file."""
    done, rows = {(found["row"], int(found["image"])) for found in read(path)}, list(rows)
    left = {number: [row for row in rows if (row, number) not in done] for number in images}
    return {number: missing for number, missing in left.items() if missing}


@contextmanager
def adding(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Adds lines to a results file, each there at once, so that what is broken off keeps what it
    has measured."""
    begun = path.exists() and path.stat().st_size > 0
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if not begun:
            writer.writeheader()

        def add(line: Mapping[str, Any]) -> None:
            writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in line.items()})
            file.flush()

        yield add


def first_images(found: Found, most: int) -> list[int]:
    """The first images of which anything was measured, by number."""
    return sorted({int(each["image"]) for each in found})[:most]


def first_pictured(folder: Path, found: Found, rows: Sequence[str], most: int) -> list[int]:
    """Those of which there are pictures, which kept lines come without: of all rows that were measured,
    or else of any."""
    measured = {each["row"] for each in found}
    wanted = [row for row in rows if row in measured]
    numbers = first_images(found, len(found))
    whole = [number for number in numbers if all(picture(folder, row, number).exists() for row in wanted)]
    some = [number for number in numbers if any(picture(folder, row, number).exists() for row in wanted)]
    return (whole or some)[:most]


def picture(folder: Path, name: str, number: int) -> Path:
    """Where a picture of an image lies: what a row made of it, or what it is shown beside."""
    return folder / "pictures" / f"{number:03d} {name}.png"


def means(found: Found, rows: Iterable[str], figures: Iterable[str], first: str, counted: str = "images") -> str:
    """Means of figures over the images of each row that was measured, as Markdown. first, counted:
    heads of two columns."""
    figures = list(figures)
    lines = [f"| {first} | {counted} | {' | '.join(figures)} |", "|---|---|" + "---|" * len(figures)]
    for name in rows:
        if some := [each for each in found if each["row"] == name]:
            values = [f"{mean(float(each[figure]) for each in some):.2f}" for figure in figures]
            lines.append(f"| {name} | {len(some)} | {' | '.join(values)} |")
    return "\n".join(lines)


class MeasureAll(Protocol):
    """Measures what a folder lacks of the images from `first` to `images`, of the rows that are wanted."""

    def __call__(self, folder: Path, images: int, wanted: Callable[[str], bool], first: int) -> None: ...


def command(description: str | None, measure_all: MeasureAll, table: Callable[[Path], str], results: str, images: int) -> None:
    """A measuring script's command line: measures what a folder lacks, and prints its table.
    results: the name in that folder of what `table` reads. images: how many unless told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="a folder")
    parser.add_argument("--images", type=int, default=images, help=f"the first so many images or scenes ({images})")
    parser.add_argument("--first", type=int, default=0, help="the first of these")
    parser.add_argument("--rows", default="", help="only rows whose names begin so; several with semicolons between")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    given = parser.parse_args()
    if not given.table:
        measure_all(given.results, given.images, lambda name: name.startswith(tuple(given.rows.split(";"))), given.first)
    print(table(given.results / results))
