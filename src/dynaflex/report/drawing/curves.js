// Curves on the page: what lies under the mouse is read off, and what it is dragged over is enlarged.
{
  const DARK = matchMedia("(prefers-color-scheme: dark)");
  const DASHES = { "-": [], "--": [7, 4], ":": [2, 3] }, BORDERS = { "-": "solid", "--": "dashed", ":": "dotted" };
  const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const ink = () => theme("--ink"), line = () => theme("--line");
  const font = (size) => `${size}px ${getComputedStyle(document.body).fontFamily}`;
  const brief = (value) => (value == null ? "–" : String(Number(value.toPrecision(4))).replace("-", "−"));

  /** Round resolutions between two frequencies, or even steps where the axis is enlarged beyond them. */
  function resolutionTicks(resolutions, apart, low, high) {
    const kept = [];
    for (const frequency of resolutions.map((resolution) => 1 / resolution)) {
      const previous = kept.at(-1) ?? low;
      if (frequency <= high && frequency - previous >= apart * (high - low)) kept.push(frequency);
    }
    const even = [1, 3, 5, 7].map((eighth) => low + (eighth / 8) * (high - low));
    return kept.length > 2 ? kept : even;
  }

  function axes(plot) {
    const common = {
      stroke: ink, font: font(12), labelFont: font(12), labelSize: 22, labelGap: 2,
      grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 },
    };
    const x = plot.resolutions
      ? { splits: (u, i, low, high) => resolutionTicks(plot.resolutions, plot.apart, low, high),
          values: (u, found) => found.map((frequency) => String(Number((1 / frequency).toPrecision(3)))) }
      : { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] };
    const wide = (u, texts) => 14 + 7 * Math.max(2, ...(texts ?? []).map((text) => text.length));
    return [
      { ...common, ...x, label: plot.xLabel, grid: { show: false }, size: 30 },
      { ...common, label: plot.yLabel || undefined, size: wide, space: 36,
        values: (u, found) => found.map((value) => String(Number(value.toPrecision(6))).replace("-", "−")) },
    ];
  }

  /** All of x until a part is asked for; y as far as its curves and levels reach in that part. */
  function scales(plot) {
    const whole = (low, high) => low <= plot.x[0] && high >= plot.x.at(-1);
    const levels = plot.levels.map(([level]) => level);
    const roomy = (u, low, high) => {
      if (low == null) return [0, 1];
      const [first, last] = [Math.min(low, ...levels), Math.max(high, ...levels)];
      const room = 0.06 * (last - first || Math.abs(last) || 1);
      return [first - room, last + room];
    };
    return {
      x: { time: false, range: (u, low, high) => (whole(low, high) ? plot.xLimits : [low, high]) },
      y: { range: plot.yLimits ?? roomy, dir: plot.inverted ? -1 : 1 },
    };
  }

  /** Bands, levels and uprights with their names, behind the curves. */
  function behind(plot, u) {
    const { ctx, bbox } = u, scale = devicePixelRatio;
    ctx.save();
    ctx.font = font(11 * scale);
    ctx.fillStyle = ctx.strokeStyle = ink();
    ctx.lineWidth = scale;
    for (const [left, right] of plot.bands) {
      const [from, to] = [left, right].map((x) => Math.min(Math.max(u.valToPos(x, "x", true), bbox.left), bbox.left + bbox.width));
      ctx.globalAlpha = 0.08;
      ctx.fillRect(from, bbox.top, to - from, bbox.height);
      if (to > from) upwards(ctx, plot.bandText, (from + to) / 2, bbox.top + bbox.height - 6 * scale, "left", "middle");
    }
    for (const [level, name] of plot.levels) {
      const y = u.valToPos(level, "y", true);
      if (y < bbox.top || y > bbox.top + bbox.height) continue;
      stroke(ctx, 0.5, [], [bbox.left, y], [bbox.left + bbox.width, y]);
      ctx.globalAlpha = 0.85;
      ctx.textAlign = "left";
      ctx.textBaseline = "middle";
      ctx.fillText(name, bbox.left + bbox.width + 4 * scale, y);
    }
    for (const [value, name] of plot.uprights) {
      const x = u.valToPos(value, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      stroke(ctx, 0.6, [6 * scale, 3 * scale], [x, bbox.top], [x, bbox.top + bbox.height]);
      upwards(ctx, name, x - 4 * scale, bbox.top + 4 * scale, "right", "bottom");
    }
    ctx.restore();
  }

  function upwards(ctx, text, x, y, align, baseline) {
    ctx.save();
    ctx.globalAlpha = 0.85;
    ctx.translate(x, y);
    ctx.rotate(-Math.PI / 2);
    ctx.textAlign = align;
    ctx.textBaseline = baseline;
    ctx.fillText(text, 0, 0);
    ctx.restore();
  }

  function stroke(ctx, alpha, dash, from, to) {
    ctx.globalAlpha = alpha;
    ctx.setLineDash(dash);
    ctx.beginPath();
    ctx.moveTo(...from);
    ctx.lineTo(...to);
    ctx.stroke();
  }

  /** Named points, in front of the curves. */
  function inFront(plot, u) {
    const { ctx, bbox } = u, scale = devicePixelRatio;
    ctx.save();
    ctx.font = `bold ${font(12 * scale)}`;
    for (const mark of plot.marks) {
      const [x, y] = [u.valToPos(mark.x, "x", true), u.valToPos(mark.y, "y", true)];
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      const rightwards = !mark.below && x < bbox.left + 0.8 * bbox.width;
      ctx.fillStyle = mark.colour;
      ctx.beginPath();
      ctx.arc(x, y, 3.5 * scale, 0, 2 * Math.PI);
      ctx.fill();
      ctx.textAlign = rightwards ? "left" : "right";
      ctx.textBaseline = mark.below ? "top" : "bottom";
      legibly(ctx, mark.text, x + (rightwards ? 5 : -5) * scale, y + (mark.below ? 6 : -5) * scale);
    }
    ctx.restore();
  }

  /** Words on top of curves, with paper around each letter. */
  function legibly(ctx, text, x, y) {
    ctx.strokeStyle = theme("--paper");
    ctx.lineWidth = 4 * devicePixelRatio;
    ctx.lineJoin = "round";
    ctx.strokeText(text, x, y);
    ctx.fillText(text, x, y);
  }

  function chart(plot, place, key) {
    const box = place.appendChild(document.createElement("div"));
    box.className = "chart";
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", plot.title);
    box.appendChild(document.createElement("h3")).textContent = plot.title;
    const curves = plot.curves.map(({ label, colour, width, style }) => ({
      label, stroke: colour, width, dash: DASHES[style], spanGaps: true, points: { show: plot.x.length < 2, size: 6 },
      value: (u, value) => brief(value),
    }));
    const read = plot.resolutions ? (u, value) => (value ? `${(1 / value).toFixed(2)} Å` : "–") : (u, value) => brief(value);
    const drawn = new uPlot({
      width: place.clientWidth, height: plot.height, padding: [8, plot.levels.some(([, name]) => name) ? 38 : 10, 0, 0],
      axes: axes(plot), scales: scales(plot),
      series: [{ label: plot.xLabel.replace(", Å", ""), value: read }, ...curves],
      legend: { markers: { width: 2, dash: (u, i) => BORDERS[plot.curves[i - 1].style] } },
      cursor: { y: false, sync: { key }, drag: { x: true, y: false }, points: { size: 6 } },
      hooks: { drawAxes: [(u) => behind(plot, u)], draw: [(u) => inFront(plot, u)] },
    }, [plot.x, ...plot.curves.map((curve) => curve.y)], box);
    new ResizeObserver(() => drawn.setSize({ width: box.clientWidth, height: plot.height })).observe(box);
    return drawn;
  }

  for (const figure of document.querySelectorAll("figure.curves")) {
    const place = figure.querySelector(".charts");
    figure.classList.add("works");
    const charts = JSON.parse(figure.dataset.plots).map((plot) => chart(plot, place, figure.id));
    DARK.addEventListener("change", () => charts.forEach((drawn) => drawn.redraw()));
  }
}
