"""A film on the page: a picture of all frames of which one is seen, a slider and a button.

Without JavaScript the first frame is seen, and a sentence says why it stands still.
"""

from __future__ import annotations

import base64
import json
from html import escape

from matplotlib.colors import to_hex

from dynaflex.report.drawing.film import Film
from dynaflex.report.drawing.style import MOTION_COLOURS

STYLE = """
.film .frame { max-width: 100%; margin: 0 auto; }
.film .panels { display: flex; font-size: .87rem; font-weight: 600; text-align: center; }
.film img { display: block; width: 100%; height: auto; object-fit: cover; object-position: 0 0; }
.film .bar { height: 8px; margin: .2rem 0; border: solid currentColor; border-width: 0 2px 2px; }
.film .length { font-size: .85rem; white-space: nowrap; }
.film .under { max-width: 520px; margin: 0 auto; text-align: center; }
.film .colours { display: flex; align-items: center; justify-content: center; gap: .5rem; font-size: .85rem; }
.film .ramp { width: 150px; height: 11px; border-radius: 2px; }
.film .controls { display: none; align-items: center; gap: .75rem; margin-top: .5rem; }
.film.works .controls { display: flex; }
.film button { font: inherit; min-width: 5.2rem; padding: .3rem .8rem; border: 1px solid var(--line);
  border-radius: 7px; background: var(--panel); color: inherit; cursor: pointer; }
.film input { flex: 1; min-width: 6rem; height: 1.6rem; accent-color: #2f7fc1; }
.film output { display: block; min-height: 1.6em; font-size: .9rem; font-variant-numeric: tabular-nums; }
@media print { .film .controls { display: none !important; } }
"""

SCRIPT = """
for (const film of document.querySelectorAll(".film")) {
  const [picture, slider, button] = ["img", "input", "button"].map((name) => film.querySelector(name));
  const lines = JSON.parse(film.dataset.lines), last = lines.length - 1;
  let timer = 0, step = 1;
  const show = (frame) => {
    picture.style.objectPosition = `0 ${(100 * frame) / last}%`;
    slider.value = frame;
    slider.setAttribute("aria-valuetext", lines[frame]);
    film.querySelector("output").textContent = lines[frame];
  };
  const stop = () => { clearInterval(timer); timer = 0; button.textContent = "Play"; };
  const advance = () => {
    let frame = Number(slider.value) + step;
    if (frame > last || frame < 0) {
      if (film.dataset.round) frame = 0;
      else { step = -step; frame = Number(slider.value) + step; }
    }
    show(frame);
  };
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  button.addEventListener("click", () => {
    if (timer) return stop();
    timer = setInterval(advance, 110);
    button.textContent = "Pause";
  });
  film.classList.add("works");
  show(0);
}
"""
"""To and fro, or round and round; it stands still until somebody asks."""


def film_figure(key: str, film: Film, caption: str, *, goes_round: bool) -> str:
    """A film with its controls. One that ``goes_round`` begins anew at its end; another turns back there."""
    label = escape(caption)
    picture = base64.b64encode(film.sheet).decode("ascii")
    panels = "".join(f'<span style="flex: {wide}">{escape(name)}</span>' for name, wide in film.panels.items())
    colours = ", ".join(to_hex(MOTION_COLOURS(share)) for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    ratio, named = f"{film.width} / {film.height}", escape(" and ".join(film.panels))
    return f"""<figure id="{key}" class="film" data-lines="{escape(json.dumps(film.lines, ensure_ascii=False))}"\
{' data-round="yes"' if goes_round else ""}>
<div class="frame" style="width: {film.width}px">
<div class="panels">{panels}</div>
<img src="data:image/webp;base64,{picture}" alt="{label}" style="aspect-ratio: {ratio}">
<div class="length" style="width: {100 * film.share:.2f}%"><div class="bar"></div>{film.bar:g} Å</div>
</div>
<div class="under">
<div class="colours">0<span class="ramp" style="background: linear-gradient(to right, {colours})"></span>\
{film.limit:.1f} Å {escape(film.quantity)}</div>
<output>{escape(film.lines[0])}</output>
<div class="controls"><button type="button">Play</button>\
<input type="range" min="0" max="{len(film.lines) - 1}" value="0" step="1" aria-label="{named}"></div>
<noscript><p>This is the first of {len(film.lines)} pictures; the others need JavaScript.</p></noscript>
</div>
<figcaption>{label}</figcaption>
</figure>"""
