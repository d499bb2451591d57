"""metrics.jsonl: all that a run tells its trackers, one JSON object a line. From it the run can be told again to any tracker.

The lines: {"step": 3, "full/psnr": 20.1}; {"image": name, "file": path, "step": 3}; {"table": name, "columns": […], "rows": […]},
where a picture is {"file": path}; {"file": path, "name": name}; {"lineage": kind, "identity": …, "about": {…}, "files": [path, …],
"made": true}; {"summary": {…}, "exit_code": 0}. Paths are relative to the run folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qnerf.common.files import without_nan
from qnerf.trackers.tracker import Tracker

JOURNAL = "metrics.jsonl"
Entry = dict[str, Any]


class Journal:
    """The writer. No line is written twice: a resumed run adds to those of the interrupted one, and a field is told when it is
    trained and with all others at the end. A summary is an attempt's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / JOURNAL
        self.earlier = read_journal(folder)
        self._known = {_name(entry) for entry in self.earlier if "summary" not in entry}

    def write(self, entry: Entry) -> bool:
        """Whether the line is new."""
        name = _name(entry)
        if name in self._known:
            return False
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(without_nan(entry), ensure_ascii=False) + "\n")
        if "summary" not in entry:
            self._known.add(name)
        return True

    def entry_of_log(self, values: Mapping[str, float], step: int) -> Entry:
        return {"step": step, **values}

    def entry_of_image(self, name: str, path: Path, step: int | None) -> Entry:
        return {"image": name, "file": self._relative(path)} | ({} if step is None else {"step": step})

    def entry_of_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Entry:
        plain = [[{"file": self._relative(cell)} if isinstance(cell, Path) else cell for cell in row] for row in rows]
        return {"table": name, "columns": list(columns), "rows": plain}

    def entry_of_file(self, name: str, path: Path) -> Entry:
        return {"file": self._relative(path), "name": name}

    def entry_of_lineage(self, kind: str, identity: str, about: Mapping[str, Any], files: Sequence[Path], made: bool) -> Entry:
        found = {"lineage": kind, "identity": identity, "about": dict(about), "files": [self._relative(path) for path in files]}
        return {**found, "made": made}

    def has_lineage(self, kind: str, identity: str) -> bool:
        """Whether an earlier attempt has written it: one that it made was there when the run was resumed."""
        return any(entry.get("lineage") == kind and entry.get("identity") == identity for entry in self.earlier)

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.folder)


def _name(entry: Entry) -> str:
    """Equal for lines that say the same, in whatever order."""
    return json.dumps(without_nan(entry), sort_keys=True)


def read_journal(folder: Path) -> list[Entry]:
    """The lines of a run folder, none where it has none; one that a kill has cut short is left out."""
    try:
        lines = (folder / JOURNAL).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        found += [entry] if isinstance(entry, dict) else []
    return found


def tell(entries: Iterable[Entry], tracker: Tracker, folder: Path) -> None:
    """Tells a tracker what some lines say, each once; all but summaries, and pictures and files that are gone."""
    for entry in {_name(entry): entry for entry in entries}.values():
        rest = dict(entry)
        if "image" in entry:
            if (path := _place(folder, entry["file"])).exists():
                tracker.image(entry["image"], path, entry.get("step"))
        elif "table" in entry:
            rows = [[_place(folder, cell["file"]) if isinstance(cell, dict) else cell for cell in row] for row in entry["rows"]]
            tracker.table(entry["table"], entry["columns"], rows)
        elif "lineage" in entry:
            found = [path for name in entry["files"] if (path := _place(folder, name)).exists()]
            tracker.lineage(entry["lineage"], entry["identity"], entry["about"], found, entry["made"])
        elif "file" in entry:
            if (path := _place(folder, entry["file"])).exists():
                tracker.file(entry["name"], path)
        elif "step" in entry:
            step = rest.pop("step")
            tracker.log({key: value for key, value in rest.items() if value is not None}, step)


def _place(folder: Path, name: str) -> Path:
    """Where a file of the run is; earlier versions named pictures of fields without their folder."""
    path = folder / name
    return path if path.exists() else folder / "methods" / name


def last_summary(entries: Sequence[Entry]) -> Mapping[str, Any]:
    """The final figures, as the last attempt left them."""
    return next((entry["summary"] for entry in reversed(entries) if entry.get("summary")), {})


def attempts_told(folder: Path) -> int:
    """How many attempts at a run have told how they ended."""
    return sum("summary" in entry for entry in read_journal(folder))
