"""What differs between two runs: `qnerf diff <run folder> <run folder>`: settings, code, weights, scene, figures and pictures."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from qnerf.errors import UserError, told_in_a_sentence
from qnerf.metrics.registry import metric_of, show
from qnerf.runs.folder import CONFIG, no_run, state_of

EVERYWHERE = ("output_dir", "tracker", "store", "sweep")  # settings that change no result and say nothing of the edit
NONE = "-"


def main(arguments: Sequence[str]) -> int:
    """0: what differs is printed, or that nothing does; 2: an error that the user can correct."""
    given = parser().parse_args(arguments)

    def work() -> int:
        print(report(given.first, given.second))
        return 0

    return told_in_a_sentence(work)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="qnerf diff", description="What differs between two runs: settings, figures and pictures.")
    for name in ("first", "second"):
        made.add_argument(name, type=Path, metavar="RUN_FOLDER", help="a folder with config.yaml and metrics.json")
    return made


def report(first: Path, second: Path) -> str:
    """All differences as text. Raises UserError where a folder is no run's."""
    runs = [_read(folder) for folder in (first, second)]
    parts = [
        ("Settings", _lines(*(_flat(run["settings"]) for run in runs))),
        ("Versions and stages", _lines(*(run["made of"] for run in runs))),
        ("Figures", list(_figure_lines(*(_flat(run["figures"]) for run in runs)))),
        ("Pictures", list(_picture_lines(first, second))),
    ]
    states = [state_of(folder).status for folder in (first, second)]
    unfinished = [f"{folder}: {status}" for folder, status in zip((first, second), states, strict=True) if status != "done"]
    told = [f"{title}\n" + "\n".join(f"  {line}" for line in lines) for title, lines in parts if lines]
    return "\n".join([*unfinished, *(told or ["No difference."])])


def _read(folder: Path) -> dict[str, Any]:
    if not (folder / CONFIG).is_file():
        raise UserError(f"{no_run(folder)}; expected the folder of a run, which has {CONFIG}: give one of outputs/<experiment>/.")
    settings: Any = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
    path = folder / "metrics.json"
    try:
        figures = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise UserError(f"{path} cannot be read ({error}); run the command of its {CONFIG} again") from None
    kept = {key: value for key, value in settings.items() if key not in EVERYWHERE}
    return {"settings": kept, "figures": figures, "made of": _made_of(folder)}


def _made_of(folder: Path) -> dict[str, str]:
    """Versions, as the report has them, and the identity of every stage, as the log has them: two runs with one identity of a stage
    had one scene, one set of weights and one code for it."""
    found: dict[str, str] = {"identity": folder.resolve().name}
    log, page = folder / "run.log", folder / "report.html"
    if page.is_file():
        text = page.read_text(encoding="utf-8", errors="replace")
        if match := re.search(r'<p class="small">(qnerf [^<]+)</p>', text):
            found |= dict(each.rsplit(" ", 1) for each in match[1].strip().split(", ") if " " in each)
    if log.is_file():
        stages = re.findall(
            r"(?:computing|reusing) (?:\S*/)?(\w+)/([0-9a-f]{8,})", log.read_text(encoding="utf-8", errors="replace")
        )
        grouped: dict[str, list[str]] = {}
        for stage, identity in stages:
            grouped.setdefault(stage, []).append(identity)
        found |= {f"stage {stage}": " ".join(dict.fromkeys(each)) for stage, each in grouped.items()}
    return found


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    parts = (_flat(item, f"{prefix}.{key}" if prefix else str(key)) for key, item in value.items())
    return {key: item for part in parts for key, item in part.items()}


def _lines(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    keys = [key for key in dict.fromkeys([*first, *second]) if first.get(key, NONE) != second.get(key, NONE)]
    return [f"{key}: {first.get(key, NONE)} → {second.get(key, NONE)}" for key in keys]


def _figure_lines(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    """Figures that differ, each with the difference; of those that say which way is better, whether the second is."""
    for key in dict.fromkeys([*first, *second]):
        a, b = first.get(key), second.get(key)
        name = key.rsplit(".", 1)[-1]
        if a == b or name == "seconds" or isinstance(a, str) or isinstance(b, str) or isinstance(a, list) or isinstance(b, list):
            continue
        if a is None or b is None:
            yield f"{key}: {NONE if a is None else show(name, a)} → {NONE if b is None else show(name, b)}"
            continue
        better = metric_of(name).better
        word = "" if better is None else " better" if (b > a) == (better == "higher") else " worse"
        yield f"{key}: {show(name, a)} → {show(name, b)} ({b - a:+.4g}{word})"


def _picture_lines(first: Path, second: Path) -> Iterator[str]:
    """Edited views that are not the same, with their PSNR to one another."""
    import numpy as np
    from PIL import Image

    names = [{path.name for path in (folder / "edited").glob("*.png")} for folder in (first, second)]
    for name in sorted(names[0] | names[1]):
        if not all(name in each for each in names):
            yield f"edited/{name}: only in {first if name in names[0] else second}"
            continue
        paths = [folder / "edited" / name for folder in (first, second)]
        if paths[0].read_bytes() == paths[1].read_bytes():
            continue
        a, b = (np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 255 for path in paths)
        if a.shape != b.shape:
            yield f"edited/{name}: {a.shape[1]}×{a.shape[0]} → {b.shape[1]}×{b.shape[0]} pixels"
        elif error := float(np.mean((a - b) ** 2)):
            yield f"edited/{name}: {-10 * np.log10(error):.1f} dB to one another"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
