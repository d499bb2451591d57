"""What a config file of conf/ says of itself."""

from __future__ import annotations

import re
from pathlib import Path


def describe_choice(path: Path) -> str:
    """What a config file says of itself: the first sentence of its comment, without the command that runs it."""
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = re.split(r"(?:^|:?\s+)python -m ", line.lstrip("# "))[0].strip()
        lines += [text] if text and not text.startswith("@package") else []
    return re.split(r"(?<! al)\.\s", " ".join(lines) + " ")[0].strip().rstrip(".:")
