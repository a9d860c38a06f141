// The pointers that are down on an element, and what two of them do together.

export class Fingers {
  /** Where each pointer that is down was last, in CSS pixels from the corner of the element. */
  #down = new Map();

  get count() {
    return this.#down.size;
  }

  put(event) {
    this.#down.set(event.pointerId, [event.offsetX, event.offsetY]);
  }

  lift(event) {
    this.#down.delete(event.pointerId);
  }

  /** How far a pointer went since it was last seen, in CSS pixels; null for one that is not down. */
  drag(event) {
    const last = this.#down.get(event.pointerId);
    if (!last) return null;
    this.put(event);
    return { dx: event.offsetX - last[0], dy: event.offsetY - last[1] };
  }

  /** One of two moves: how far their middle went, where it is now, and how many times as far apart they are. */
  pinch(event) {
    const before = this.#between();
    if (!this.drag(event)) return null;
    const { left, top, apart } = this.#between();
    return { dx: left - before.left, dy: top - before.top, left, top, spread: apart / Math.max(before.apart, 1) };
  }

  #between() {
    const [[x0, y0], [x1, y1]] = [...this.#down.values()];
    return { left: (x0 + x1) / 2, top: (y0 + y1) / 2, apart: Math.max(Math.hypot(x1 - x0, y1 - y0), 1) };
  }
}
