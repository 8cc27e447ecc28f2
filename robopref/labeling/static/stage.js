/** The clips of a query side by side, as large as fits, with what was measured under them. */

import { call } from "./api.js";
import { fetchClip } from "./clips.js";
import { h, say } from "./dom.js";
import { drawLanes } from "./lanes.js";
import { Player } from "./player.js";
import { Transport } from "./transport.js";

const GAP = 16;
const FOOT = 8;
const RANKS = ["best", "2nd", "3rd"];

export class Stage {
  /**
   * @param {object} query As the server gives it; `order` says in which order items are shown.
   * @param {{onpick?: (place: number) => void, showReward: boolean}} options
   */
  constructor(query, { onpick = null, showReward = false } = {}) {
    Object.assign(this, { query, onpick, showReward });
    this.items = query.order.map((index) => query.items.find((item) => item.index === index));
    this.cameras = this.items[0].cameras.filter((camera) =>
      this.items.every((item) => item.cameras.includes(camera)));
    this.camera = this.cameras[0];
    this.lanesOn = false;
    this.figures = this.items.map((_item, place) => this.makeFigure(place));
    this.element = h("div", { class: "clips", role: "group", "aria-label": "Clips" },
      this.figures.map((figure) => figure.element));
    const { fps, num_frames: numFrames } = this.items[0];
    this.player = new Player(this.figures.map((figure) => figure.canvas), {
      fps, numFrames, onchange: () => this.refresh(),
    });
    this.transport = new Transport(this.player, {
      cameras: this.cameras,
      oncamera: (camera) => this.setCamera(camera),
      onlanes: this.items.some((item) => item.lanes) ? () => this.toggleLanes() : null,
    });
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(this.element);
  }

  get keys() {
    return this.transport.keys;
  }

  makeFigure(place) {
    const canvas = h("canvas", {
      role: "img", "aria-label": `Clip ${place + 1}`, width: 4, height: 3,
    });
    const lanes = h("div", { class: "lanes", hidden: true });
    const badge = h("span", { class: `badge place-${place + 1}`, "aria-hidden": "true" },
      String(place + 1));
    const rank = h("span", { class: "rank-chip", hidden: true, "aria-hidden": "true" });
    const message = h("p", { class: "clip-message", hidden: true });
    badge.hidden = this.items.length === 1;
    const picture = h("div", { class: "picture" }, canvas, badge, rank, message);
    const element = h("figure", { class: "clip waiting", "data-place": place }, picture, lanes);
    if (this.onpick) {
      picture.classList.add("pickable");
      picture.addEventListener("click", () => this.onpick(place));
    }
    return { element, picture, canvas, rank, lanes, message };
  }

  /** Fetch and show the clips; the returned promise rejects if one cannot be shown. */
  async load() {
    const urls = await this.fetch(this.camera);
    if (this.closed) return;
    await this.player.load(urls);
    if (this.closed) return;
    for (const { element } of this.figures) element.classList.remove("waiting");
    this.fit();
    this.refresh();
    this.player.play();
  }

  fetch(camera) {
    return Promise.all(this.items.map((item, place) =>
      fetchClip(item.clips[camera]).catch((error) => {
        const { message } = this.figures[place];
        message.textContent = error.message;
        message.hidden = false;
        throw error;
      })));
  }

  async setCamera(camera) {
    this.camera = camera;
    const urls = await this.fetch(camera);
    if (camera !== this.camera || this.closed) return;
    await this.player.swap(urls);
    say(`Camera ${camera}`);
    this.fit();
  }

  async toggleLanes() {
    this.lanesOn = !this.lanesOn;
    this.transport.setLanes(this.lanesOn);
    for (const { lanes } of this.figures) lanes.hidden = !this.lanesOn;
    this.fit();
    if (!this.lanesOn || this.drawn) return;
    for (const { lanes } of this.figures) lanes.replaceChildren(h("p", { class: "muted small" }, "Measuring"));
    try {
      const found = await Promise.all(this.items.map((item) =>
        item.lanes ? call("GET", item.lanes) : { lanes: [] }));
      this.drawLanes(found.map((each) => each.lanes));
    } catch (error) {
      for (const { lanes } of this.figures) lanes.replaceChildren(h("p", { class: "small" }, error.message));
    }
  }

  drawLanes(found) {
    this.drawn = this.figures.map(({ lanes }, place) => {
      lanes.replaceChildren();
      return drawLanes(lanes, found, place, {
        numFrames: this.player.numFrames, showHidden: this.showReward,
        // Under every clip, not under one alone.
        onreveal: () => { this.showReward = true; this.drawLanes(found); },
      });
    });
    this.fit();
    this.refresh();
  }

  refresh() {
    if (this.closed) return;
    this.transport.refresh();
    for (const drawn of this.drawn ?? []) drawn.mark(this.player.frame);
  }

  /** Choose the number of columns that makes the clips largest. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const [{ canvas }] = this.figures;
    const ratio = canvas.width / canvas.height;
    const foot = Math.max(...this.figures.map(({ lanes }) => lanes.offsetHeight)) + FOOT;
    const count = this.figures.length;
    let best = { columns: 1, size: 0 };
    for (let columns = 1; columns <= count; columns += 1) {
      const rows = Math.ceil(count / columns);
      const across = (width - GAP * (columns - 1)) / columns;
      const down = (height - GAP * (rows - 1)) / rows - foot;
      const size = Math.floor(Math.min(across, down * ratio));
      if (size > best.size * 1.02) best = { columns, size };
    }
    const size = Math.max(best.size, 120);
    this.element.style.setProperty("--columns", best.columns);
    this.element.style.setProperty("--clip-width", `${size}px`);
    this.element.style.setProperty("--clip-height", `${Math.floor(size / ratio)}px`);
  }

  /** Set marks on the clips: `null` or a class for each place. */
  mark(classes) {
    this.figures.forEach(({ element }, place) => {
      element.classList.remove("chosen", "other");
      if (classes[place]) element.classList.add(classes[place]);
    });
  }

  /** Say on each clip which level it has, of `levels` of places. */
  showRanks(levels) {
    this.figures.forEach(({ rank }, place) => {
      const level = levels.findIndex((each) => each.includes(place));
      rank.hidden = level < 0;
      rank.textContent = RANKS[level] ?? `${level + 1}th`;
    });
  }

  close() {
    this.closed = true;
    this.observer.disconnect();
    this.player.close();
  }
}
