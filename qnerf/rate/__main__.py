"""`qnerf rate <name>=<folder> <name>=<folder> … --source <capture>` writes the page on which raters choose between unnamed edits;
`qnerf rate --summary <file> …` prints the mean ranks of what they chose."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from qnerf.common.files import write_text
from qnerf.errors import UserError, told_in_a_sentence


def main(arguments: Sequence[str] | None = None) -> int:
    """0: written; 2: an error that the user can correct."""
    options = parser().parse_args(arguments)
    return told_in_a_sentence(lambda: _summary(options) if options.summary else _page(options), "give another --out")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="qnerf rate", description="Raters choose between unnamed edits of one scene.")
    add = made.add_argument
    add("given", nargs="*", metavar="name=folder", help="edited views by method; with --summary the files that raters saved")
    add("--source", help="the capture that was edited: a folder, asset:<name>, procedural:<kind>_<seed>")
    add("--seed", type=int, help="draws sides and order of the pairs, 0 or above (0)")
    add("--out", type=Path, help="the page (rate.html)")
    add("--summary", action="store_true", help="print the mean ranks of the files that raters saved")
    return made


def _page(options: argparse.Namespace) -> int:
    parts, seed, out = [word.partition("=") for word in options.given], options.seed or 0, options.out or Path("rate.html")
    problems = [f"{''.join(part)}: expected <name>=<folder>: name the method and its folder" for part in parts if not all(part)]
    folders = {name: Path(path) for name, _, path in parts}
    if len(folders) < len(parts):
        twice = sorted({name for name, *_ in parts if [other for other, *_ in parts].count(name) > 1})
        problems.append(f"{', '.join(twice)}: given more than once, expected a name of its own for each method: rename one")
    elif len(folders) < 2:
        problems.append(f"got {len(folders)} methods, expected at least two, <name>=<folder> each: add one")
    if seed < 0:
        problems.append(f"--seed: got {seed}, expected a whole number of 0 or above")
    source: str | None = options.source
    if source is None:
        problems.append("--source: none given, expected the capture that was edited")
    if problems or source is None:
        raise UserError("\n".join(problems))
    from qnerf.rate.page import rating_page  # torch comes with it: not before the options are good

    write_text(out, rating_page(folders, source, seed))
    print(f"{out}: open it in a browser, and send it to the raters; each sends a CSV file back.")
    return 0


def _summary(options: argparse.Namespace) -> int:
    unread = [f"--{name}" for name in ("source", "seed", "out") if getattr(options, name) is not None]
    if unread:
        raise UserError(f"{', '.join(unread)}: --summary does not read it, it prints what the raters' files say: leave it out")
    from qnerf.rate.summary import as_markdown, summary_of

    print(as_markdown(summary_of([Path(path) for path in options.given])))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
