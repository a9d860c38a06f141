"""The page on a laptop, a tablet and a telephone: nothing overlaps, nothing is cut off, fingers and keys do all."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from survival import rewrite
from viewer.browsing import Visit, next_link, visited
from viewer.conftest import Explorer

SIZES = {
    "laptop": {"viewport": {"width": 1280, "height": 800}},
    "portrait": {"viewport": {"width": 820, "height": 1180}, "has_touch": True, "is_mobile": True},
    "landscape": {"viewport": {"width": 1180, "height": 820}, "has_touch": True, "is_mobile": True},
    "telephone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}
PANELS = ("explore", "particles", "maps", "curves")

BOXES = """() => {
  const known = 'button, select, input, output, figure, h2, .plot, .strip, #selected, #saved, #run-name, #message, p';
  const shown = [...document.querySelectorAll(known)].filter((e) => e.checkVisibility() && !e.closest('dialog')
    && (e.textContent.trim() || ['SELECT', 'INPUT', 'CANVAS'].includes(e.tagName) || e.matches('.plot')));
  const overlaps = [];
  for (const [i, a] of shown.entries()) for (const b of shown.slice(i + 1)) {
    if (a.contains(b) || b.contains(a)) continue;
    const [p, q] = [seen(a), seen(b)];
    const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    // Neighbours in a group of buttons share their border.
    if (across > 1.5 && down > 1.5) overlaps.push([name(a), name(b)]);
  }
  // A legend with many entries scrolls.
  function seen(e) {
    const [own, around] = [e, e.matches('.entry') ? legend : e].map((each) => each.getBoundingClientRect());
    const [top, bottom] = [Math.max(own.top, around.top), Math.min(own.bottom, around.bottom)];
    return { left: own.left, right: own.right, top, bottom };
  }
  function name(e) { return e.id || e.textContent.slice(0, 30) || e.className }
  const wide = [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && !e.ownerSVGElement
    && (e.getBoundingClientRect().right > innerWidth + 0.5 || e.getBoundingClientRect().left < -0.5)).map(name);
  const cut = shown.filter((e) => e.matches('button:not(.entry), output, h2') && e.clientWidth
    && e.scrollWidth > e.clientWidth + 1).map(name);
  const main = document.querySelector('main');
  const scrolls = document.scrollingElement.scrollHeight > innerHeight || main.scrollHeight > main.clientHeight;
  return { overlaps, wide, cut, scrolls, count: shown.length };
}"""


@pytest.fixture(scope="module")
def explorer(
    finished_run: Path, tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Explorer]
) -> tuple[Explorer, Path]:
    run = tmp_path_factory.mktemp("laid") / "run"
    shutil.copytree(finished_run, run)
    rewrite(
        run,
        "particles.star",
        lambda table: re.sub(r"mic_000(\d\d)", lambda found: f"mic_000{int(found[1]) % 12:02d}", table),
    )
    (run / "selections").mkdir()
    about = {"name": "a name that somebody made as long as it may be, for reasons of his own", "count": 123456}
    (run / "selections" / "selection_001.json").write_text(json.dumps(about))
    return start(run), run


@pytest.fixture(scope="module", params=list(SIZES))
def seen(request: pytest.FixtureRequest, browser: Any, explorer: tuple[Explorer, Path]) -> Iterator[Visit]:
    """The page at each size, with all it can say said: a selection, a path, classes."""
    one, run = explorer
    visit = visited(browser, run, one, next_link(one), **SIZES[request.param])
    visit.page.select_option("#colour", label="rlnMicrographName")
    visit.until("() => document.querySelectorAll('#legend .entry').length === 12")
    visit.page.locator("#legend .entry").first.click()
    visit.page.select_option("#axis", "dense")
    visit.until("() => dynaflex.explore.path.movie.nodes.length === 33")
    visit.settled()
    yield visit
    visit.page.close()


def width(seen: Visit) -> int:
    return int(seen.page.viewport_size["width"])


def opened(seen: Visit, panel: str) -> None:
    seen.page.click(f"[data-panel={panel}]")
    if panel == "particles":
        seen.until("() => document.querySelectorAll('#gallery figure').length > 0")
    if panel == "maps":
        seen.until("() => dynaflex.maps.views?.left?.meshed && dynaflex.maps.views?.right?.meshed")
    if panel == "curves":
        seen.until("() => ['#fsc', '#training'].every((part) => document.querySelector(`${part} figure`))")


@pytest.mark.parametrize("panel", PANELS)
def test_nothing_overlaps_and_nothing_is_cut_off(seen: Visit, panel: str) -> None:
    opened(seen, panel)
    found = seen.ask(BOXES)
    assert found["count"] > 8
    assert found["overlaps"] == [] and found["wide"] == [] and found["cut"] == []
    if width(seen) > 600:
        assert not found["scrolls"]


def test_a_message_finds_room(seen: Visit) -> None:
    opened(seen, "explore")
    seen.ask("() => { message.textContent = 'what went wrong, at length. '.repeat(12); message.hidden = false }")
    found = seen.ask(BOXES)
    seen.ask("() => { message.hidden = true }")
    assert found["overlaps"] == [] and found["wide"] == []


def test_fingers_hit_what_they_aim_at(seen: Visit) -> None:
    if not seen.ask("() => matchMedia('(pointer: coarse)').matches"):
        assert width(seen) == 1280
        return
    for panel in PANELS:
        opened(seen, panel)
        small = seen.ask("""() => [...document.querySelectorAll('button, select, input')]
          .filter((e) => e.checkVisibility() && !e.closest('dialog'))
          .map((e) => [e.id || e.textContent, (e.type === 'checkbox' ? e.closest('label') : e).getBoundingClientRect()])
          .filter(([, box]) => box.height < 32 || box.width < 32).map(([name]) => name)""")
        assert small == []


def test_every_control_says_what_it_does(seen: Visit) -> None:
    silent = seen.ask("""() => [...document.querySelectorAll('main button, main select, main input, header button')]
      .filter((e) => !e.closest('[title]')?.title && !e.ariaLabel).map((e) => e.id || e.textContent)""")
    assert silent == []


def test_no_two_things_have_one_name(seen: Visit) -> None:
    """Nor a button that of a panel; what stands in two panels means the same in both."""
    buttons = seen.ask("""() => [...document.querySelectorAll('button')].filter((e) => !e.matches('.entry, dialog *'))
      .map((e) => e.textContent.replace(/[^\\w ]/g, '').trim().toLowerCase()).filter(Boolean)""")
    assert sorted(buttons) == sorted(set(buttons)) and {"explore", "show", "clear path", "clear selection"} <= set(
        buttons
    )
    names = """(panel) => [...document.querySelectorAll(`#${panel} label`)].map((label) => [...label.childNodes]
      .filter((e) => e.nodeType === 3).map((e) => e.textContent.trim()).join(' ')).filter((name) => name.length > 1)"""
    for panel in PANELS:
        labels = seen.ask(names, panel)
        assert sorted(labels) == sorted(set(labels)) and "colour" not in labels, panel


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_focus_is_seen(seen: Visit, theme: str) -> None:
    opened(seen, "explore")
    seen.ask("(theme) => { document.documentElement.dataset.theme = theme }", theme)
    seen.ask("() => document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        seen.page.keyboard.press("Tab")
        name, style, width, visible = seen.ask("""() => {
          const e = document.activeElement;
          const look = getComputedStyle(e);
          const name = e === document.body ? "BODY" : e.id || e.className || e.textContent;
          return [name, look.outlineStyle, parseFloat(look.outlineWidth), e.checkVisibility()];
        }""")
        if name in reached and name not in ("entry",):
            continue
        reached.add(name)
        assert visible and (name == "BODY" or (style != "none" and width >= 2) or not name), name
    assert {"x", "colour", "threshold", "axis", "play", "frame", "export", "save"} <= reached


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_stand_out_from_their_ground(seen: Visit, theme: str) -> None:
    seen.ask("(theme) => { document.documentElement.dataset.theme = theme }", theme)
    pairs = {("ink", "panel"), ("quiet", "panel"), ("ground", "accent"), ("warning", "warning-ground"),
             ("ink", "ground"), ("half1", "ground"), ("half2", "ground"), ("rigid", "ground"),
             ("all", "panel")}  # fmt: skip
    for words, ground in pairs:
        colours = seen.ask(
            "(names) => names.map((name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`))",
            [words, ground],
        )
        bright, dark = sorted((luminance(colour.strip()) for colour in colours), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, (words, ground)


def luminance(colour: str) -> float:
    """Relative luminance as in WCAG."""
    values = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(values <= 0.03928, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_verdicts_of_all_kinds_are_told_apart(seen: Visit) -> None:
    opened(seen, "explore")
    texts = ["It moves.", "It was not seen in noise. " * 6, "It follows the view. " * 6]
    listed = [{"kind": kind, "text": text} for kind, text in zip(("note", "good", "warning"), texts, strict=True)] * 6
    seen.page.route("**/api/verdicts", lambda route: route.fulfill(json=listed))
    opened(seen, "curves")
    seen.until("() => document.querySelectorAll('#verdicts p').length === 18")
    marks = seen.ask("""() => [...document.querySelectorAll('#verdicts p')].slice(0, 3).map((line) =>
      [getComputedStyle(line, '::before').content, getComputedStyle(line).backgroundColor].join())""")
    assert len(set(marks)) == 3
    found = seen.ask(BOXES)
    assert found["overlaps"] == [] and found["wide"] == []
    tall = seen.ask("() => verdicts.getBoundingClientRect().height")
    lines = seen.ask("() => [...verdicts.children].reduce((sum, line) => sum + line.getBoundingClientRect().height, 0)")
    # A long list stands in two columns where there is room for them.
    assert (tall < 0.7 * lines) == (width(seen) > 1000)
    seen.page.unroute("**/api/verdicts")


def test_more_controls_leave_the_panels_where_they_are(seen: Visit) -> None:
    opened(seen, "explore")
    top = "() => document.querySelector('#surface').getBoundingClientRect().top"
    before = seen.ask(top)
    seen.page.select_option("#surface-colour", "local_resolution")
    seen.page.check("#arrows")
    seen.until("() => dynaflex.explore.view.message.colour?.id === 'local_resolution'")
    seen.ask("() => document.querySelector('main').scrollTo(0, 0)")
    found, after = seen.ask(BOXES), seen.ask(top)
    seen.page.uncheck("#arrows")
    seen.page.select_option("#surface-colour", "displacement")
    assert found["overlaps"] == [] and found["wide"] == []
    if width(seen) == 1280:
        assert after == before


def test_limits_and_lengths_can_be_read(seen: Visit) -> None:
    opened(seen, "explore")
    seen.page.check("#arrows")
    seen.page.fill("#times", "0.025")
    seen.page.fill("#most", "0.013")
    cut = seen.ask("() => [most, times].filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.id)")
    seen.page.fill("#times", "")
    seen.page.uncheck("#arrows")
    assert cut == []
