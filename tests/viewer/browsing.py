"""A real browser with the page in it: opened by its link, asked, waited for; skipped loudly where there is none."""

from __future__ import annotations

import io
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from viewer.conftest import Explorer


@dataclass
class Visit:
    """A page that was opened by its link, and all that happened to it."""

    page: Any
    explorer: Explorer
    run: Path
    requests: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def ask(self, script: str, argument: object = None) -> Any:
        return self.page.evaluate(script, argument)

    def until(self, condition: str, argument: object = None) -> None:
        """Wait; the page's policy forbids playwright's own way."""
        deadline = time.monotonic() + 60
        while not self.ask(condition, argument):
            assert time.monotonic() < deadline, (condition, self.troubles)
            time.sleep(0.05)

    def at(self, across: float, down: float, panel: str = "plot") -> tuple[float, float]:
        box = self.page.locator(f"#{panel}").bounding_box()
        return box["x"] + across * box["width"], box["y"] + down * box["height"]

    def central(self) -> tuple[float, float]:
        """Where in the plot the particle nearest to its middle is, as shares of its width and height."""
        x, y, width, height = self.ask("""async () => {
          const { plot, particles, axes } = dynaflex.explore;
          const [x, y] = await Promise.all(axes.map((name) => particles.shownValues(name)));
          const index = plot.nearest(...plot.toPixels(...plot.center), 1e4);
          return [...plot.toPixels(x[index], y[index]), plot.element.clientWidth, plot.element.clientHeight];
        }""")
        return x / width, y / height

    def lasso(self, left: float, right: float, top: float = 0.02, bottom: float = 0.98) -> None:
        """Draw around a part of the plot, given in shares of its width and height."""
        self.page.mouse.move(*self.at(left, top))
        self.page.mouse.down()
        for place in ((right, top), (right, bottom), (left, bottom)):
            self.page.mouse.move(*self.at(*place), steps=3)
        self.page.mouse.up()

    def settled(self) -> None:
        """Until the newest fine conformation is shown, and none is on its way."""
        self.until("() => !dynaflex.explore.busy && dynaflex.explore.times.at(-1)?.size === 'fine'")
        self.until("() => !dynaflex.explore.view.surface.busy")

    def export(self, kind: str) -> bytes:
        with self.page.expect_download(timeout=120_000) as waited:
            self.page.select_option("#export", kind)
        return Path(waited.value.path()).read_bytes()

    def surface(self) -> np.ndarray:
        """Pixels of the surface, without what lies over it."""
        return self.pixels("#surface canvas.surface")

    def pixels(self, element: str) -> np.ndarray:
        """An element as it is on the screen, red, green and blue."""
        return np.asarray(Image.open(io.BytesIO(self.page.locator(element).screenshot())).convert("RGB"), int)


def next_link(explorer: Explorer) -> str:
    """The link printed last, waited for if the last one was used."""
    deadline = time.monotonic() + 30
    while (link := re.findall(r"http://\S+", "".join(explorer.lines))[-1]) in _USED:
        assert time.monotonic() < deadline, "no other link was printed"
        time.sleep(0.05)
    _USED.add(link)
    return str(link)


_USED: set[str] = set()


def visited(browser: Any, run: Path, explorer: Explorer, link: str, before: str = "", **context: Any) -> Visit:
    """A page of its own, 1280 by 720 unless ``context`` says else, in which the script ``before`` was run first.

    Its visitor has asked for less motion: nothing plays before he says so.
    """
    usual = {"viewport": {"width": 1280, "height": 720}, "accept_downloads": True, "reduced_motion": "reduce"}
    page = browser.new_page(**{**usual, **context})
    if before:
        page.add_init_script(before)
    visit = Visit(page, explorer, run)
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("pageerror", lambda error: visit.troubles.append(str(error)))
    page.on("console", lambda message: visit.troubles.append(message.text) if message.type == "error" else None)
    page.goto(link)
    visit.until("() => document.body.dataset.ready === 'yes'")
    return visit
