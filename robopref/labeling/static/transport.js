/** What moves the clips: play, one scrubber for all, steps, speed, loop, camera, curves. */

import { button, choice, h, say } from "./dom.js";
import { SPEEDS } from "./player.js";

const MOST_BUTTONS = 3;

export class Transport {
  /**
   * @param {Player} player
   * @param {{cameras: string[], oncamera: (name: string) => void, onlanes: (() => void) | null}}
   *   options What else can be changed; null for no curves.
   */
  constructor(player, { cameras, oncamera, onlanes }) {
    Object.assign(this, { player, onlanes, onmark: null });
    this.playButton = button("", { class: "icon play", onclick: () => player.toggle() }, icon());
    this.scrubber = h("input", {
      type: "range", min: 0, max: player.last, step: 1, value: 0, "aria-label": "Picture",
      oninput: () => player.scrub(Number(this.scrubber.value)),
      onpointerup: () => this.scrubber.blur(),
    });
    this.marker = h("span", { class: "mark", hidden: true });
    this.time = h("output", { class: "time", "aria-hidden": "true" });
    this.speed = button("1×", {
      class: "quiet", key: "S", title: "Speed", onclick: () => this.nextSpeed(),
    });
    this.loop = button("Loop", {
      class: "quiet", key: "O", "aria-pressed": "true", onclick: () => this.toggleLoop(),
    });
    this.lanes = onlanes && button("Curves", {
      class: "quiet", key: "L", "aria-pressed": "false", onclick: onlanes,
    });
    this.camera = cameras.length > 1 ? cameraChoice(cameras, oncamera) : null;
    this.cameras = cameras;
    this.element = h(
      "div", { class: "transport", role: "group", "aria-label": "Playback" },
      this.playButton,
      button("‹", { class: "icon", key: ",", "aria-label": "One picture back",
        onclick: () => player.stepBy(-1) }),
      button("›", { class: "icon", key: ".", "aria-label": "One picture on",
        onclick: () => player.stepBy(1) }),
      h("div", { class: "scrub" }, this.scrubber, this.marker),
      this.time, this.speed, this.loop, this.lanes,
      this.camera && h("div", { class: "cameras" }, this.camera.element,
        h("kbd", { "aria-hidden": "true" }, "C")),
    );
    this.refresh();
  }

  get keys() {
    const { player } = this;
    return {
      Space: () => player.toggle(),
      ",": () => player.stepBy(-1),
      ".": () => player.stepBy(1),
      "<": () => player.stepBy(-10),
      ">": () => player.stepBy(10),
      Home: () => player.scrub(0),
      End: () => player.scrub(player.last),
      S: () => this.nextSpeed(),
      "Shift+S": () => this.nextSpeed(-1),
      O: () => this.toggleLoop(),
      ...(this.onlanes ? { L: this.onlanes } : {}),
      ...(this.camera ? { C: () => this.nextCamera() } : {}),
    };
  }

  refresh() {
    const { player } = this;
    const { frame } = player;
    // Not while it is dragged: the thumb would jump back to what is shown.
    if (!this.scrubber.matches(":active")) this.scrubber.value = frame;
    const seconds = (frame / player.fps).toFixed(1);
    this.scrubber.setAttribute("aria-valuetext", `picture ${frame + 1} of ${player.numFrames}`);
    this.time.textContent = `${frame + 1} / ${player.numFrames}`;
    this.time.title = `${seconds} s`;
    this.playButton.classList.toggle("playing", player.playing);
    this.playButton.setAttribute("aria-label", player.playing ? "Pause" : "Play");
    this.speed.querySelector("span").textContent = `${player.speed}×`;
  }

  nextSpeed(direction = 1) {
    const at = SPEEDS.indexOf(this.player.speed) + direction;
    this.player.setSpeed(SPEEDS.at(at % SPEEDS.length));
    say(`Speed ${this.player.speed}`);
  }

  toggleLoop() {
    this.player.looping = !this.player.looping;
    this.loop.setAttribute("aria-pressed", String(this.player.looping));
    say(this.player.looping ? "Loop on" : "Loop off");
  }

  nextCamera() {
    const next = (this.cameras.indexOf(this.camera.value) + 1) % this.cameras.length;
    this.camera.pick(this.cameras[next]);
  }

  setLanes(isOn) {
    this.lanes.setAttribute("aria-pressed", String(isOn));
  }

  /** Show where something was marked; null for nowhere. */
  setMark(frame) {
    this.marker.hidden = frame === null;
    if (frame !== null) {
      this.marker.style.setProperty("--at", frame / Math.max(1, this.player.last));
    }
  }
}

/** Return the way to change the camera: buttons side by side, or a list where they are many. */
function cameraChoice(cameras, oncamera) {
  if (cameras.length <= MOST_BUTTONS) {
    const options = cameras.map((name) => ({ value: name, label: name }));
    return choice("Camera", options, cameras[0], oncamera);
  }
  const element = h("select", {
    "aria-label": "Camera", onchange: () => { element.blur(); oncamera(element.value); },
  }, cameras.map((name) => h("option", { value: name }, name)));
  const pick = (name) => { element.value = name; oncamera(name); };
  return { element, pick, get value() { return element.value; } };
}

function icon() {
  return h("span", { class: "play-icon", "aria-hidden": "true" });
}
