"""Which commit a checkout says it is of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from qnerf.common import installation


def test_a_checkout_says_its_commit_and_whether_files_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "PACKAGE", tmp_path / "qnerf")
    assert installation.commit() is None, "an installed copy has none, though a repository may lie round it"

    def git(*words: str) -> str:
        own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", "-C", str(tmp_path), *own, *words], capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    head = git("rev-parse", "--short=7", "HEAD")
    assert installation.commit() == head
    (tmp_path / "file").write_text("two")
    assert installation.commit() == f"{head}-dirty"
