/** Keys: one listener, several layers; the newest layer that knows a key gets it. */

const layers = [];

/** Add keys, {"ArrowLeft": fn, "Shift+A": fn}; returns a function that takes them away. */
export function addKeys(map, { repeat = [] } = {}) {
  const layer = { map, repeat: new Set(repeat) };
  layers.push(layer);
  return () => layers.splice(layers.indexOf(layer), 1);
}

/** Return the name of a pressed key: letters in capitals, digits by their place. */
function keyName(event) {
  const key = event.key === " " ? "Space" : event.key;
  if (/^\d$/.test(key)) return key;
  // In France a digit without Shift is a sign, elsewhere one with Shift is.
  const digit = /^Digit(\d)$/.exec(event.code);
  if (digit) return event.shiftKey ? `Shift+${digit[1]}` : digit[1];
  if (/^[a-z]$/i.test(key)) return (event.shiftKey ? "Shift+" : "") + key.toUpperCase();
  return event.shiftKey && key.length > 1 ? `Shift+${key}` : key;
}

function isTyping(target) {
  return target.matches?.("input:not([type=range]):not([type=checkbox]), textarea, select");
}

/** Whether the focused element itself makes something of this key. */
function isTaken(target, name) {
  if (isTyping(target)) return name !== "Escape" && name !== "Shift+Enter";
  if (target.matches?.("button, a[href], summary")) return name === "Space" || name === "Enter";
  if (target.matches?.("input[type=range]")) {
    return /^(Arrow|Page|Home|End)/.test(name);
  }
  return false;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const name = keyName(event);
  if (isTaken(event.target, name)) return;
  if (document.querySelector("dialog[open]") && name !== "Escape") return;
  for (const layer of layers.toReversed()) {
    const act = layer.map[name];
    if (!act) continue;
    event.preventDefault();
    // A key that is held must not answer one query after the other.
    if (!event.repeat || layer.repeat.has(name)) act(event);
    return;
  }
});
