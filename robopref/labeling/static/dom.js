/** Elements are built from text, never from HTML: names and notes come from strangers. */

const SVG = "http://www.w3.org/2000/svg";

/** Return an element with attributes, listeners (`onclick`) and children; strings become text. */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** Return an SVG element, made as `h` makes one of HTML. */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

/** Return a button that shows its key, and lets go of the focus after a click with the mouse. */
export function button(label, { key = "", onclick, ...props } = {}, ...children) {
  const released = (event) => {
    // Else the space bar would press it again instead of playing.
    if (event.detail > 0) event.currentTarget.blur();
    onclick(event);
  };
  const keycap = key ? h("kbd", { "aria-hidden": "true" }, key) : null;
  const shown = label ? h("span", {}, label) : null;
  return h(
    "button",
    { type: "button", "aria-keyshortcuts": key ? spoken(key) : null, ...props, onclick: released },
    ...children, shown, keycap,
  );
}

const SPOKEN = { "←": "ArrowLeft", "→": "ArrowRight", "↑": "ArrowUp", "↓": "ArrowDown" };

function spoken(key) {
  return key.split(" ").map((part) => SPOKEN[part] ?? part).join(" ");
}

/** Return one row of buttons of which one is pressed; `pick(value)` changes it from outside. */
export function choice(label, options, value, onchange) {
  const buttons = options.map((option) =>
    button(option.label, {
      key: option.key, title: option.title, "data-value": option.value,
      onclick: () => pick(option.value),
    }),
  );
  const group = h("div", { class: "choice", role: "group", "aria-label": label }, buttons);
  const mark = () => {
    for (const each of buttons) {
      each.setAttribute("aria-pressed", String(each.dataset.value === String(value)));
    }
  };
  const pick = (chosen) => {
    value = chosen;
    mark();
    onchange(chosen);
  };
  mark();
  return { element: group, pick, get value() { return value; } };
}

/** Say something to who does not see the page. */
export function say(text, { urgent = false } = {}) {
  const region = document.getElementById(urgent ? "alert" : "status");
  // The same words twice are else not spoken again.
  region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}

/** Show a message for a while. */
export function toast(text, { urgent = false, seconds = 5 } = {}) {
  const box = h("div", { class: urgent ? "toast urgent" : "toast" }, h("span", {}, text));
  document.getElementById("toasts").replaceChildren(box);
  say(text, { urgent });
  setTimeout(() => box.remove(), seconds * 1000);
}

/** Return words for a time [s since 1970]: the hour today, else the day as well. */
export function when(seconds) {
  const date = new Date(seconds * 1000);
  const isToday = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return isToday ? time : `${date.toLocaleDateString()} ${time}`;
}
