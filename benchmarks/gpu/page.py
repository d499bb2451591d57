"""docs/gpu.md: a section for each card, in place of the one that says that nothing has run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from benchmarks.gpu.results import NOT_RUN, RESULTS, as_section, as_table, read
from benchmarks.gpu.wheels import ROOT

PAGE = ROOT / "docs" / "gpu.md"
START, END = "<!-- results -->", "<!-- end of results -->"
NOTHING = f'## Not run\n\nNo GPU has run this yet: every figure is "{NOT_RUN}".\n\n{as_table({})}\n'


def with_section(text: str, section: str) -> str:
    """The page with a section for its card: in place of the card's older one, or of `NOTHING`, or before the others."""
    before, _, rest = text.partition(START)
    inside, _, after = rest.partition(END)
    card = section.removeprefix("## ").split(",")[0]
    sections = re.split(r"(?m)^(?=## )", inside)
    others = [old.strip() for old in sections if old.strip() and not old.startswith(("## Not run", f"## {card},"))]
    return f"{before}{START}\n" + "\n\n".join([section.strip(), *others]) + f"\n{END}{after}"


def add(folder: Path) -> int:
    """Puts the results of a folder into the page."""
    results = read(folder / RESULTS)
    if not results.about or results.about["card"] == "CPU":
        print(f"gpu: {folder / RESULTS} holds no results of a GPU.", file=sys.stderr)
        return 2
    PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), as_section(results)), encoding="utf-8")
    print(f"{PAGE}: {results.about['card']}, {results.about['date']}")
    return 0
