"""The look of the report: one page, one style sheet, figures drawn into it; nothing is loaded from anywhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape

from dynaflex.report.drawing import curves, player
from dynaflex.report.drawing.style import INK

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #24292f; --soft: #59636e; --line: #dfe3e8; --panel: #f6f8fa;
  --warn-paper: #fff6e0; --warn-line: #d9a11c; --warn-ink: #5c4203; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #14171b; --ink: #e3e7ec; --soft: #9aa5b1; --line: #2e353d; --panel: #1c2127;
    --warn-paper: #2b230f; --warn-line: #b98a1d; --warn-ink: #f2dda6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 940px; margin: 0 auto; padding: 2.5rem 20px 4rem; }
header p { margin: .25rem 0; color: var(--soft); }
h1 { margin: 0; font-size: 1.9rem; letter-spacing: -.015em; line-height: 1.2; }
h2 { margin: 3.25rem 0 .75rem; padding-top: 1.1rem; border-top: 1px solid var(--line); font-size: 1.3rem;
  letter-spacing: -.01em; }
h3 { margin: 1.5rem 0 .25rem; font-size: 1rem; }
p { margin: .6rem 0; max-width: 46rem; }
.lead { font-size: 1.1rem; line-height: 1.5; }
.kicker { font-size: .85rem; letter-spacing: .02em; }
code { font: .87em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(164px, 1fr)); gap: 10px; margin: 1.5rem 0;
  padding: 0; }
.tiles div { max-width: 300px; padding: 12px 13px; border: 1px solid var(--line); border-radius: 10px;
  background: var(--panel); }
.tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd { margin: 0; }
.tiles .value { margin: .1rem 0; font-size: 1.2rem; font-weight: 650; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.tiles .remark { color: var(--soft); font-size: .8rem; line-height: 1.4; }
.box { margin: 1.25rem 0; padding: 12px 18px; border: 1px solid var(--line); border-left: 4px solid var(--soft);
  border-radius: 8px; background: var(--panel); }
.box h2, .box h3 { margin: 0 0 .25rem; padding: 0; border: 0; }
.box h2 { font-size: 1.15rem; }
.box ul { margin: .25rem 0; padding-left: 1.15rem; }
.warnings { border-color: var(--warn-line); background: var(--warn-paper); color: var(--warn-ink); }
figure { margin: 1.5rem 0 2.25rem; }
figure svg { display: block; width: 100%; height: auto; color: var(--ink); }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure svg text { font-family: inherit !important; font-variant-numeric: tabular-nums; }
figcaption a { color: inherit; font-size: .8rem; white-space: nowrap; }
pre { margin: .6rem 0; padding: 10px 12px; border: 1px solid var(--line); border-radius: 8px; background: var(--panel);
  color: var(--ink); white-space: pre-wrap; }
figcaption { margin-top: .5rem; max-width: 46rem; color: var(--soft); font-size: .92rem; }
.absent { padding: 14px 16px; border: 1px dashed var(--line); border-radius: 8px; color: var(--soft); max-width: none; }
details { margin: .75rem 0; border: 1px solid var(--line); border-radius: 8px; padding: 10px 16px; }
summary { cursor: pointer; font-weight: 600; }
table { width: 100%; margin: .75rem 0; border-collapse: collapse; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
thead th { color: var(--soft); font-weight: 600; }
tbody th { width: 34%; font-weight: 500; }
.numbers { display: block; overflow-x: auto; }
.numbers th, .numbers td { width: auto; padding-right: 1.2rem; white-space: nowrap; }
.numbers :is(th, td):last-child { padding-right: 0; white-space: normal; }
[id] { scroll-margin-top: 3.5rem; }
.contents { position: sticky; top: 0; z-index: 1; margin: 1rem -20px 0; padding: .5rem 20px;
  background: var(--paper); border-bottom: 1px solid var(--line); font-size: .85rem; }
.contents ol { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 0; padding: 0; list-style: none; }
.contents a { color: var(--soft); text-decoration: none; }
.contents a:hover { color: var(--ink); text-decoration: underline; }
@media (min-width: 1270px) {
  [id] { scroll-margin-top: 1rem; }
  .contents { position: fixed; top: 2.6rem; left: calc(50% - 630px); width: 160px; margin: 0; padding: 0; border: 0; }
  .contents ol { flex-direction: column; gap: .55rem; line-height: 1.35; }
}
@media print {
  :root { color-scheme: light; }
  .contents { position: static; width: auto; border: 0; }
  .contents ol { flex-flow: row wrap; gap: .2rem 1.1rem; }
}
@media print { details { display: block; } figure, .box, .tiles { break-inside: avoid; } }
"""


def document(title: str, body: Iterable[str]) -> str:
    """The whole page around its parts, which are HTML already."""
    content = "\n".join(body)
    scripts = [curves.script()] if 'class="curves"' in content else []
    scripts += [player.SCRIPT] if 'class="film"' in content else []
    script = "".join(["<script>", *scripts, "</script>\n"]) if scripts else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{player.STYLE}{curves.style()}</style>\n</head>\n<body>\n<main>\n{content}\n</main>\n"
        f"{script}</body>\n</html>\n"
    )


def contents(sections: Iterable[tuple[str, str]]) -> str:
    """The way to each of the ``sections``, by identifier and title."""
    links = "".join(f"<li>{_link(f'#{key}', title)}</li>" for key, title in sections)
    return f'<nav class="contents" aria-label="Contents"><ol>{links}</ol></nav>'


def section(key: str, title: str, content: str) -> str:
    """HTML under a heading that can be linked to."""
    return f'<section id="{key}">\n<h2>{escape(title)}</h2>\n{content}\n</section>'


def figure(key: str, svg: bytes, caption: str, beside: str | None = None) -> str:
    """A figure drawn into the page; ``key`` keeps its names apart from those of other figures.

    ``beside`` is the name of its files beside the page, without their ending, if there are any.
    """
    return f'<figure id="{key}">\n{_still(key, svg, caption, beside)}\n</figure>'


def plotted(key: str, plots: str, svg: bytes, caption: str, beside: str | None = None) -> str:
    """The same for curves that the page draws from their description as JSON; without JavaScript the SVG is seen."""
    hint = paragraph("Drag over a part to enlarge it, double-click to see all again.", "hint")
    charts = f'<div class="charts"></div>\n{hint}\n{_still(key, svg, caption, beside)}'
    return f'<figure id="{key}" class="curves" data-plots="{escape(plots)}">\n{charts}\n</figure>'


def _still(key: str, svg: bytes, caption: str, beside: str | None) -> str:
    """The drawing over its caption."""
    label = escape(caption)
    links = "" if beside is None else " " + " ".join(_link(f"{beside}.{kind}", kind.upper()) for kind in ("png", "pdf"))
    return f"{inline(key, svg, label)}\n<figcaption>{label}{links}</figcaption>"


def _link(target: str, text: str) -> str:
    return f'<a href="{escape(target)}">{escape(text)}</a>'


def links(before: str, targets: Mapping[str, str]) -> str:
    """A line of links to files beside the page, by what they are called."""
    return f"<p>{escape(before)} {' · '.join(_link(target, text) for text, target in targets.items())}</p>"


def inline(key: str, svg: bytes, label: str) -> str:
    """SVG as a part of an HTML page: scalable, described, in the page's ink, with names of its own."""
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.S)
    opening, rest = text.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', opening)
    text = f'<svg {view.group(0) if view else ""} role="img" aria-label="{label}">{rest}'
    # Pictures are named after what they show: of two that show the same, the second needs another name.
    seen: Counter[str] = Counter()

    def named(found: re.Match[str]) -> str:
        seen[found[1]] += 1
        again = f"-{seen[found[1]]}" if seen[found[1]] > 1 else ""
        return f'id="{key}-{found[1]}{again}"'

    text = re.sub(r'\bid="([^"]+)"', named, text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{key}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", text)
    return text.replace(INK, "currentColor").strip()


def absent(text: str) -> str:
    """What stands in the place of a figure that cannot be drawn."""
    return f'<p class="absent">{escape(text)}</p>'


def paragraph(text: str, kind: str = "") -> str:
    """One paragraph of plain text; ``kind`` names its look."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def command(text: str) -> str:
    """A command to be typed."""
    return f"<pre><code>{escape(text)}</code></pre>"


def notice(title: str, text: str, below: str) -> str:
    """A framed warning of plain text, and HTML ``below`` it."""
    return f'<section class="box warnings">\n<h2>{escape(title)}</h2>\n{paragraph(text)}\n{below}\n</section>'


def box(title: str, items: Iterable[str], kind: str = "") -> str:
    """A framed list of plain text; ``kind`` names its look."""
    lines = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f'<section class="{f"box {kind}".strip()}">\n<h3>{escape(title)}</h3>\n<ul>{lines}</ul>\n</section>'


def table(rows: Iterable[Iterable[str]], head: Iterable[str] = ()) -> str:
    """Rows of plain text, the first cell of each its heading."""
    columns = list(head)
    titles = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in columns)
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    above = f"<thead><tr>{titles}</tr></thead>" if titles else ""
    kind = ' class="numbers"' if len(columns) > 4 else ""
    return f"<table{kind}>{above}<tbody>{''.join(lines)}</tbody></table>"


def folded(title: str, content: str) -> str:
    """Content that opens on a click."""
    return f"<details><summary>{escape(title)}</summary>\n{content}\n</details>"
