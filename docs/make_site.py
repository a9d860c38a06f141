"""What the site has besides the pages of docs/: those that lie elsewhere in the project, and the files they link to.

A page is written for whoever reads it in the repository, and its links go to files there. In the site a link to
another page becomes that page, and one to anything else (a source, a notebook) a page that shows it.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "benchmarks.md": "benchmarks/README.md",
}
"""The pages whose files are not in docs/."""
_LANGUAGES = {".py": "python", ".cff": "yaml"}
_LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")
_UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from elsewhere, and a page for each file that a page links to."""
    for name, origin in PAGES.items():
        hidden = "---\nhide: [navigation]\n---\n" if name == "index.md" else ""  # a list of one page
        files.append(File.generated(config, name, content=hidden + _text(origin)))
    pages = [file.src_uri for file in files.documentation_pages()]
    linked = {_target(name, link) for name in pages for link in _LINK.findall(_text(_origin(name)))}
    for path in sorted(linked):
        if (ROOT / path).exists() and _shown_as(path).startswith("source/"):
            files.append(File.generated(config, _shown_as(path), content=_source_page(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn every link to a file of the repository into one to what shows that in the site."""
    name = page.file.src_uri
    if name.endswith(".py.md"):
        return markdown

    def shown(link: re.Match[str]) -> str:
        path = _target(name, link[1])
        return posixpath.relpath(_shown_as(path), posixpath.dirname(name) or ".") if (ROOT / path).exists() else link[1]

    return _LINK.sub(shown, markdown)


def _origin(page: str) -> str:
    """Where the text of a page lies in the repository."""
    if page.startswith("source/"):
        return page.removeprefix("source/").removesuffix(".md")
    return PAGES.get(page, f"docs/{page}")


def _target(page: str, link: str) -> str:
    """What a link leads to, as a path in the repository."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(_origin(page)), link))
    return f"{path}/README.md" if (ROOT / path).is_dir() else path


def _shown_as(path: str) -> str:
    """What shows a file of the repository in the site."""
    for page, origin in PAGES.items():
        if path == origin:
            return page
    return path.removeprefix("docs/") if path.startswith("docs/") else f"source/{path}.md"


def _source_page(path: str) -> str:
    text, ending = _text(path), os.path.splitext(path)[1]
    if ending == ".ipynb":
        return _UNSEARCHED + "\n\n".join(map(_cell, json.loads(text)["cells"]))
    return f"{_UNSEARCHED}# {path}\n\n````{_LANGUAGES.get(ending, 'text')}\n{text}````\n"


def _cell(cell: dict[str, list[str]]) -> str:
    text = "".join(cell["source"])
    return text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"


def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")
