"""All trackers of a run as one: the journal in its folder, and those that the settings choose beside it.

tracked.json in the run folder says how much of the journal each of them has been told. So a tracker that is new to a resumed
run, or to a finished one, is told what it has missed, and nothing twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qnerf.common.files import DamagedFile, read_json, write_json
from qnerf.trackers.journal import Entry, Journal, last_summary, read_journal, tell
from qnerf.trackers.tracker import TrackedRun, Tracker, TrackerSettings

log = logging.getLogger(__name__)

TRACKED = "tracked.json"


class Guarded:
    """A tracker that may fail: there is one warning, it is closed, and the run goes on without it."""

    def __init__(self, name: str, build: Callable[[], Tracker]) -> None:
        self.name = name
        self.failed = False
        self._tracker: Tracker | None = None
        self._attempt("start", lambda: setattr(self, "_tracker", build()))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._with("log", lambda tracker: tracker.log(values, step))

    def live(self, values: Mapping[str, float], seconds: float) -> None:
        self._with("live figures", lambda tracker: tracker.live(values, seconds))

    def image(self, name: str, path: Path, step: int | None = None) -> None:
        self._with("image", lambda tracker: tracker.image(name, path, step))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self._with("table", lambda tracker: tracker.table(name, columns, rows))

    def file(self, name: str, path: Path) -> None:
        self._with("file", lambda tracker: tracker.file(name, path))

    def lineage(self, kind: str, identity: str, about: Mapping[str, Any], files: Sequence[Path] = (), made: bool = False) -> None:
        self._with("lineage", lambda tracker: tracker.lineage(kind, identity, about, files, made))

    def finish(self, summary: Mapping[str, Any], exit_code: int = 0) -> None:
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            self._attempt("finish", lambda: tracker.finish(summary, exit_code))

    def _with(self, what: str, action: Callable[[Tracker], None]) -> None:
        tracker = self._tracker
        if tracker is None or self._attempt(what, lambda: action(tracker)):
            return
        self._tracker = None
        try:
            tracker.finish({}, 1)  # an open run would keep the process alive
        except Exception as error:
            log.debug("%s: closing it failed too: %s", self.name, error)

    def _attempt(self, what: str, action: Callable[[], object]) -> bool:
        """Whether the action went well."""
        try:
            action()
        except Exception as error:  # any: a tracker never stops a run
            self.failed = True
            log.warning("%s %s failed (%s: %s): the run continues without it.", self.name, what, type(error).__name__, error)
            return False
        return True


class Together:
    """The journal, and the other trackers of a run."""

    def __init__(self, settings: TrackerSettings, run: TrackedRun) -> None:
        self.run = run
        self.journal = Journal(run.folder)
        earlier, known = self.journal.earlier, _known(run.folder)
        self.others: dict[str, Guarded] = {}
        for each in settings.all():
            place = each.destination(run)
            if place is not None:
                self.others[place] = Guarded(each.name, lambda each=each: each.build(run))
                tell(earlier[known.get(place, 0) :], self.others[place], run.folder)
        telling = [place for place, tracker in self.others.items() if not tracker.failed]
        if self.others:
            _note(run.folder, known | dict.fromkeys(telling, len(earlier)), telling)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._tell(self.journal.entry_of_log(values, step), lambda tracker: tracker.log(values, step))

    def live(self, values: Mapping[str, float], seconds: float) -> None:
        for tracker in self.others.values():
            tracker.live(values, seconds)

    def image(self, name: str, path: Path, step: int | None = None) -> None:
        self._tell(self.journal.entry_of_image(name, path, step), lambda tracker: tracker.image(name, path, step))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self._tell(self.journal.entry_of_table(name, columns, rows), lambda tracker: tracker.table(name, columns, rows))

    def file(self, name: str, path: Path) -> None:
        self._tell(self.journal.entry_of_file(name, path), lambda tracker: tracker.file(name, path))

    def lineage(self, kind: str, identity: str, about: Mapping[str, Any], files: Sequence[Path] = (), made: bool = False) -> None:
        if not self.journal.has_lineage(kind, identity):
            entry = self.journal.entry_of_lineage(kind, identity, about, files, made)
            self._tell(entry, lambda tracker: tracker.lineage(kind, identity, about, files, made))

    def finish(self, summary: Mapping[str, Any], exit_code: int = 0) -> None:
        try:
            self.journal.write({"summary": dict(summary), "exit_code": exit_code})
        finally:  # a full disk leaves no tracker open
            for tracker in self.others.values():
                tracker.finish(summary, exit_code)
        if self.others:
            count = len(read_journal(self.run.folder))
            told = {place: count for place, tracker in self.others.items() if not tracker.failed}
            _note(self.run.folder, {**_known(self.run.folder, active=False), **told}, [])

    def _tell(self, entry: Entry, action: Callable[[Tracker], None]) -> None:
        if self.journal.write(entry):
            for tracker in self.others.values():
                action(tracker)


def replay(settings: TrackerSettings, run: TrackedRun, again: bool = False) -> list[str]:
    """Tells the trackers of the settings what they have missed of a finished run; the places that were told. again: all of it."""
    places = {place: each for each in settings.all() if (place := each.destination(run)) is not None}
    if not places:
        return []
    entries, known, told = read_journal(run.folder), _known(run.folder), []
    for place, each in places.items():
        missed = entries if again else entries[known.get(place, 0) :]
        if not missed:
            continue
        tracker = Guarded(each.name, lambda each=each: each.build(replace(run, replayed=True)))
        tell(missed, tracker, run.folder)
        tracker.finish(last_summary(entries), 0)
        if not tracker.failed:
            known[place] = len(entries)
            told.append(place)
    if told:
        _note(run.folder, known, [])
    return told


def in_words(place: str) -> str:
    """A place for a reader: W&B's project, whose entity is left open, begins with a slash and would look like a path."""
    return place.replace(" /", " ")


def is_told(settings: TrackerSettings, run: TrackedRun) -> bool:
    """Whether the trackers of the settings know all of a run's record."""
    count, known = len(read_journal(run.folder)), _known(run.folder)
    places = [place for each in settings.all() if (place := each.destination(run))]
    return all(known.get(place, -1) >= count for place in places)


def _known(folder: Path, active: bool = True) -> dict[str, int]:
    """How many lines of the journal each place knows. active: those that an attempt which was killed was telling know all of it."""
    try:
        found = read_json(folder / TRACKED)
        known = {str(place): int(count) for place, count in found["known"].items()}
        telling = [str(place) for place in found["telling"]] if active else []
    except (DamagedFile, KeyError, TypeError, ValueError, AttributeError):
        return {}
    count = len(read_journal(folder)) if telling else 0
    return {**known, **dict.fromkeys(telling, count)}


def _note(folder: Path, known: Mapping[str, int], telling: Sequence[str]) -> None:
    write_json(folder / TRACKED, {"known": dict(known), "telling": list(telling)})
