/** Mouse and fingers on a view: one turns, two move and zoom, the wheel zooms, a tap points. */

const TURN = 0.008;  // Radians a pixel.

/** Call `view.onorbit, onpan, onzoom, ontap` for what happens on `element`. */
export function listenToGestures(element, view) {
  const fingers = new Map();
  let moved = 0;

  element.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (fingers.size === 1) moved = 0;
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    moved += Math.hypot(dx, dy);
    const others = [...fingers].filter(([id]) => id !== event.pointerId);
    fingers.set(event.pointerId, now);
    const height = element.clientHeight;
    if (others.length) {
      const [, fixed] = others[0];
      view.onzoom(distance(before, fixed) / Math.max(distance(now, fixed), 1));
      view.onpan(-dx / height / 2, dy / height / 2);
    } else if (event.shiftKey || event.buttons & 6) {
      view.onpan(-dx / height, dy / height);
    } else {
      view.onorbit(-dx * TURN, dy * TURN);
    }
  });
  const lift = (event) => {
    const wasOnly = fingers.delete(event.pointerId) && fingers.size === 0;
    if (event.type !== "pointerup" || !wasOnly || moved > 6) return;
    const box = element.getBoundingClientRect();
    view.ontap(event.clientX - box.left, event.clientY - box.top);
  };
  element.addEventListener("pointerup", lift);
  element.addEventListener("pointercancel", lift);
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.onzoom(Math.exp(Math.sign(event.deltaY) * 0.12));
  }, { passive: false });
}

function distance(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}
