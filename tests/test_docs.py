"""The documents keep to the code: links and anchors lead somewhere, § references have their section, generated pages are as the
code would write them. What each page looks like is `make docs`'s to build."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import qnerf
from qnerf.settings_page import page
from tests.documents import DOCS, PAGES, ROOT, named, tokens

METHOD = ROOT / "docs" / "method.md"


# Links and anchors.


def targets(path: Path) -> Iterator[str]:
    """Where a page's links and pictures lead."""
    for token in tokens(path):
        for part in (token, *(token.children or ())):
            if isinstance(target := part.attrs.get("href") or part.attrs.get("src"), str):
                yield target
            if part.type.startswith("html"):
                yield from re.findall(r'(?:href|src)="([^"]+)"', part.content)


@cache
def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings: on the site for pages of docs/, on GitHub for others."""
    found: set[str] = set()
    for before, token in zip(tokens(path), tokens(path)[1:], strict=False):
        if before.type == "heading_open":
            text = "".join(part.content for part in token.children or ())
            slug = site_slug(text) if path in DOCS else github_slug(text)
            found.add(slug)
    return found | set(re.findall(r'(?:id|name)="([^"]+)"', path.read_text(encoding="utf-8")))


def site_slug(text: str) -> str:
    """As Python-Markdown's table of contents makes them."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def github_slug(text: str) -> str:
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def is_there(target: str, page_: Path) -> bool:
    """Whether a relative link of a page leads to a file or folder and, if it names one, to an anchor in it."""
    place, _, anchor = target.partition("#")
    path = (page_.parent / place).resolve() if place else page_
    if path.name.endswith("_notebook.md"):  # made of the notebook when the site is built
        return path.with_name(path.name.replace("_notebook.md", ".ipynb")).is_file()
    if not path.exists():
        return False
    if anchor.startswith("qnerf."):  # an object of the Python interface
        shown = re.findall(r"^::: (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        return any(f"{anchor}.".startswith(f"{name}.") for name in shown)
    return not anchor or path.suffix != ".md" or anchor in anchors(path)


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_link_leads_somewhere(path: Path) -> None:
    local = [target for target in targets(path) if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not is_there(target, path)] == []


def test_anchors_are_what_the_site_and_github_make_of_headings() -> None:
    assert site_slug("1.2 A DDIM step: ẑ0, `steps`") == "12-a-ddim-step-z0-steps"
    assert github_slug("What a run leaves: R², a & b") == "what-a-run-leaves-r²-a--b"


# The method page: what points to it, and what it points to.


def sections() -> set[str]:
    """The numbers of the method page's headings."""
    return set(re.findall(r"^#+ (\d+(?:\.\d+)*)\.? ", METHOD.read_text(encoding="utf-8"), re.MULTILINE))


def references() -> Iterator[tuple[str, str]]:
    """Every § that code and documents name, with the file."""
    for folder in ("qnerf", "tests", "benchmarks", "experiments", "conf", "docs"):
        for path in (path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".py", ".yaml", ".md")):
            text = path.read_text(encoding="utf-8")
            for found in re.findall(r"method\.md[\s#]+(§[\d.]+(?:(?:,| and| to)?[\s#]+§[\d.]+)*)", text):
                yield from ((named(path), number.rstrip(".")) for number in re.findall(r"§([\d.]+)", found))
    own = re.findall(r"(?<!, )§(\d[\d.]*)", METHOD.read_text(encoding="utf-8"))  # behind a comma: of a paper
    yield from ((named(METHOD), number.rstrip(".")) for number in own)


def test_every_reference_to_the_method_has_its_section() -> None:
    found = list(references())
    assert len(found) > 40
    assert [reference for reference in found if reference[1] not in sections()] == []


def test_every_reference_names_the_page() -> None:
    """So that a reader of the code finds it: "docs/method.md §2.4", and no other name of it."""
    texts = {named(path): path.read_text(encoding="utf-8") for path in (ROOT / "qnerf").rglob("*.py")}
    wrong = [name for name, text in texts.items() if re.search(r"METHOD\W*§", text)]
    assert wrong == []


def test_every_file_and_name_of_the_method_page_exists() -> None:
    text = METHOD.read_text(encoding="utf-8")
    assert [path for path in re.findall(r"`((?:qnerf|conf)/[\w/.]*)`", text) if not (ROOT / path).exists()] == []
    wrong = []
    for path, names in re.findall(r"`(qnerf/[\w/]+\.py)`\s\(([^)]*)\)", text):
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        there = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        wrong += [(path, name) for name in re.findall(r"`(\w+)`", names) if name not in there]
    assert wrong == []


# The pages of the Python interface and of the settings.


def test_every_public_name_is_documented() -> None:
    shown = re.findall(r"^::: qnerf\.(\w+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(shown) == sorted(qnerf.__all__)


def test_the_page_of_settings_is_that_of_the_settings() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page(), "python -m qnerf.settings_page > docs/settings.md"


def test_every_setting_has_a_meaning() -> None:
    rows = [line.strip("| ").split(" | ") for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    assert [row[0] for row in rows if not row[-1].strip() or row[-1].startswith("`")] == []
