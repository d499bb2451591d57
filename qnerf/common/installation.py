"""How this copy of qnerf was installed, for messages that name an install command."""

from __future__ import annotations

import json
import shlex
import subprocess
from importlib.metadata import PackageNotFoundError, distribution

from qnerf.common.places import PACKAGE


def install_command(extra: str) -> str:
    """The command that installs what an extra (`optuna`, `ray`, …) needs, from any folder.

    An installed copy's own metadata names the packages, so that pip asks no index for qnerf itself. A checkout's metadata may be
    older than its pyproject.toml, so there it is read again.
    """
    what = f"{PACKAGE.parent}[{extra}]" if is_checkout() else f"qnerf[{extra}]"
    return f"pip install {'-e ' if is_checkout() else ''}{shlex.quote(what)}"


def commit() -> str | None:
    """The commit of the checkout that runs, with "-dirty" behind it where files differ from it. None of an installed copy, and
    where git does not say."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return None
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    try:
        found = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def is_checkout() -> bool:
    """Whether this copy is a source folder: installed with `pip install -e`, or run from where it lies."""
    try:
        found = distribution("qnerf")
    except PackageNotFoundError:
        return True
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))
