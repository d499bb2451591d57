"""Published experiments as studies: what each claims and measures, and how its verdict is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Protocol

import numpy as np

from experiments.results import Found

LEAST_IMAGES = 8  # below, a difference is a first look


class Script(Protocol):
    """A measuring script: rows by name, what it has measured, a table of it, and a sheet of pictures."""

    ROWS: Mapping[str, Any]
    RESULTS: str

    def measure_all(self, folder: Path, images: int, wanted: Callable[[str], bool]) -> None: ...

    def read(self, path: Path) -> list[dict[str, str]]: ...

    def table(self, path: Path) -> str: ...

    def sheet(self, folder: Path, rows: Sequence[str]) -> np.ndarray | None:
        """None where there are no pictures, as of figures that the repository keeps."""
        ...


@dataclass(frozen=True)
class Claim:
    """`better` has a larger figure than `worse` by at least `least`, image by image. says: in
    words. published: the figure."""

    says: str
    published: str
    figure: str
    better: str
    worse: str
    least: float = 0.0
    change: str | None = None  # only images of this kind of edit


@dataclass(frozen=True)
class Verdict:
    """ours: the two means. images: how many have both rows. beyond: by how much the mean difference
    exceeds what is claimed; None where there are no images. error: its standard error."""

    ours: str
    images: int
    beyond: float | None
    error: float = 0.0

    @property
    def in_words(self) -> str:
        """What may be said of it."""
        if self.beyond is None:
            return "not measured"
        if self.images < LEAST_IMAGES:
            return "holds, so far" if self.beyond > 0 else "does not hold, so far"
        if abs(self.beyond) <= 2 * self.error:
            return "not shown: within its error"
        return "holds" if self.beyond > 0 else "does not hold"


@dataclass(frozen=True)
class Study:
    """One published experiment. script: what measures it. rows: of the script's, that it reads."""

    title: str
    script: Script
    rows: tuple[str, ...]
    claims: tuple[Claim, ...] = field(default_factory=tuple)


def judge(claim: Claim, found: Found) -> Verdict:
    """By the mean of the difference over images: whether it exceeds what is claimed, or falls short of
    it, by two standard errors, if there are enough."""
    by_row = {
        row: {each["image"]: float(each[claim.figure]) for each in found if each["row"] == row and _counts(claim, each)}
        for row in (claim.better, claim.worse)
    }
    images = sorted(by_row[claim.better].keys() & by_row[claim.worse].keys())
    if not images:
        return Verdict("-", 0, None)
    first, second = ([by_row[row][image] for image in images] for row in (claim.better, claim.worse))
    differences = [a - b - claim.least for a, b in zip(first, second, strict=True)]
    error = stdev(differences) / len(images) ** 0.5 if len(images) > 1 else 0.0
    return Verdict(f"{mean(first):.2f} against {mean(second):.2f}", len(images), mean(differences), error)


def report(study: Study, folder: Path) -> str:
    """Claims, published figures, ours and verdicts, and the table of what was measured, as Markdown."""
    found = study.script.read(folder / study.script.RESULTS)
    lines = ["| claim | published | ours | images | verdict |", "|---|---|---|---|---|"]
    for claim in study.claims:
        verdict = judge(claim, found)
        lines.append(f"| {claim.says} | {claim.published} | {verdict.ours} | {verdict.images} | {verdict.in_words} |")
    head, *rest = study.script.table(folder / study.script.RESULTS).splitlines()
    shown = [head, *(line for line in rest if _is_of(line, study.rows))]
    return "\n".join([f"# {study.title}", "", *(lines if study.claims else []), "", *shown])


def _counts(claim: Claim, each: Mapping[str, str]) -> bool:
    return claim.change is None or each.get("change") == claim.change


def _is_of(line: str, rows: Sequence[str]) -> bool:
    """Whether a line below a table's head is one of these rows, or none of its rows."""
    return not line.startswith("|") or line.split("|")[1].strip() in rows or set(line) <= set("|-")
