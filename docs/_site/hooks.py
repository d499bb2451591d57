"""What mkdocs does beside its plugins when it builds the site (mkdocs.yml names this file).

Equations are set while the site is built, as MathML, which browsers draw by themselves: pages need no script and
no font for them and open from disk. Links out of docs/ (a file of the code, a folder of experiments) become text, since
the site is no copy of the repository. The notebook becomes a page. The one script that the theme would fetch from elsewhere
is a file of the site.
"""

import html
import json
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

SHIM, OWN_SHIM = "https://unpkg.com/iframe-worker/shim", "_site/iframe-worker.js"
NOTEBOOKS = ("tutorials/first_edit.ipynb", "tutorials/own_capture.ipynb")
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
FOREIGN = re.compile(r'<(?:script|img|iframe|link rel="stylesheet")[^>]*(?:src|href)="(https?://[^"]*)"')
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((\.\./[^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds each notebook as a page of its own name; the notebook itself stays beside it, to be downloaded."""
    for name in NOTEBOOKS:
        path = Path(config.docs_dir, name)
        if path.is_file():
            text = notebook_page(json.loads(path.read_text(encoding="utf-8")), path.name)
            files.append(File.generated(config, name.replace(".ipynb", "_notebook.md"), content=text))
    return files


def notebook_page(notebook: dict, name: str) -> str:
    """A notebook's cells and kept outputs as Markdown."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            parts.append(_output(output))
    parts.insert(1, f"[Download this page as a notebook]({name})")  # behind its title
    return "\n\n".join(parts) + "\n"


def _output(output: dict) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="output" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links that leave docs/ as text."""
    return LINK.sub(lambda match: _outside(match, Path(page.file.abs_src_path or config.docs_dir), Path(config.docs_dir)), markdown)


def _outside(match: re.Match[str], page: Path, docs: Path) -> str:
    target = (page.parent / match[2].split("#")[0]).resolve()
    return match[0] if target.is_relative_to(docs.resolve()) else match[1]


def on_page_content(content: str, **_: object) -> str:
    """Every equation as MathML."""
    return EQUATION.sub(lambda match: _mathml(html.unescape(match[2]), match[1] == "div"), content)


def _mathml(latex: str, block: bool) -> str:
    found = convert(latex, display="block" if block else "inline")
    if "\\" in found:  # what it does not know it leaves as it is
        raise PluginError(f"an equation has a command that latex2mathml does not know: {latex.strip()}")
    return found


def on_post_page(output: str, page: Page, **_: object) -> str:
    """The script by which search works from disk, from the site itself."""
    output = output.replace(SHIM, get_relative_url(OWN_SHIM, page.url))
    if foreign := FOREIGN.search(output):
        raise PluginError(f"{page.file.src_uri} loads {foreign[1]}, expected nothing from elsewhere: the site opens from disk")
    return output


def on_post_template(output_content: str, **_: object) -> str:
    """The same for pages that are no document (404.html)."""
    return output_content.replace(SHIM, OWN_SHIM)
