// What the pointer, the fingers and the keys do in a density plot.
import { Fingers } from "./fingers.js";

const SLOP = 4;

/** Turn gestures on the canvas of a plot into its events; see DensityPlot. */
export function attachPointer(plot) {
  const { canvas } = plot;
  /** What one pointer does; two fingers move and zoom, whatever the tool. */
  let held = null;
  const fingers = new Fingers();
  const tell = (name, detail) => plot.dispatchEvent(new CustomEvent(name, { detail }));
  const where = (event) => {
    const [x, y] = plot.toValues(event.offsetX, event.offsetY);
    return { x, y };
  };
  const letGo = () => {
    [held, plot.lasso] = [null, null];
    plot.drawOverlay();
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.put(event);
    if (fingers.count > 1) {
      letGo();
      return;
    }
    const tool = event.button || event.ctrlKey ? "pan" : event.shiftKey ? "lasso" : plot.tool;
    held = { tool, adds: event.shiftKey, from: [event.offsetX, event.offsetY], center: [...plot.center], moved: 0 };
    if (tool === "lasso") plot.lasso = [held.from];
    // A finger may be the first of two.
    if (tool === "show" && event.pointerType !== "touch") tell("show", { ...where(event), ended: false });
  });

  canvas.addEventListener("pointermove", (event) => {
    if (fingers.count > 1) {
      pinch(plot, fingers.pinch(event));
      return;
    }
    fingers.drag(event);
    if (!held) {
      const index = plot.nearest(event.offsetX, event.offsetY, 8);
      tell("hover", { index, left: event.offsetX, top: event.offsetY });
      return;
    }
    const [dx, dy] = [event.offsetX - held.from[0], event.offsetY - held.from[1]];
    held.moved = Math.max(held.moved, Math.hypot(dx, dy));
    if (held.tool === "show" && held.moved >= SLOP) tell("show", { ...where(event), ended: false });
    if (held.tool === "pan") plot.panTo([held.center[0] - dx / plot.unit, held.center[1] + dy / plot.unit]);
    if (held.tool === "lasso") {
      plot.lasso.push([event.offsetX, event.offsetY]);
      plot.drawOverlay();
    }
  });

  canvas.addEventListener("pointerup", (event) => {
    fingers.lift(event);
    if (!held) return;
    const { tool, moved, adds } = held;
    held = null;
    if (tool === "show") tell("show", { ...where(event), ended: true });
    if (tool === "path" && moved < SLOP) tell("click", where(event));
    if (tool === "lasso") endLasso(plot, tell, adds);
  });

  canvas.addEventListener("pointercancel", (event) => {
    fingers.lift(event);
    letGo();
  });
  canvas.addEventListener("pointerleave", () => tell("hover", { index: -1 }));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => { if (plot.tool === "pan") plot.fit(); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    plot.zoomAt(event.offsetX, event.offsetY, Math.exp(-event.deltaY * 0.0015));
  }, { passive: false });

  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.key === "0") plot.fit();
    if (["+", "=", "-"].includes(event.key)) {
      plot.zoomAt(canvas.clientWidth / 2, canvas.clientHeight / 2, event.key === "-" ? 0.8 : 1.25);
    }
    if (!step || !plot.marks.at) return;
    event.preventDefault();
    const [x, y] = plot.marks.at.map((c, i) => c + (step[i] * 10) / plot.unit);
    tell("show", { x, y, ended: true });
  });
}

/** What lies between two fingers stays between them. */
function pinch(plot, moved) {
  if (!moved) return;
  plot.panTo([plot.center[0] - moved.dx / plot.unit, plot.center[1] + moved.dy / plot.unit]);
  plot.zoomAt(moved.left, moved.top, moved.spread);
}

function endLasso(plot, tell, adds) {
  const polygon = plot.lasso;
  plot.lasso = null;
  if (polygon.length > 2) tell("lasso", { mask: plot.inside(polygon), adds });
  else plot.drawOverlay();
}
