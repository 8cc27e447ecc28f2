/** Action candidates for one observation: ranked, all bad, or bettered by one's own. */

import { Board } from "./board.js";
import { CloudView } from "./cloud.js";
import { button, choice, h, say, toast } from "./dom.js";
import { Placer } from "./placer.js";
import { inStoredOrder } from "./ranking.js";
import { Stage } from "./stage.js";

export class CandidatesJudge {
  constructor(query, { submit, showReward }) {
    Object.assign(this, { query, submit, showReward });
    this.cloud = new CloudView(query.observation, {
      order: query.order, onpoint: (point) => this.placer?.put(point),
    });
    this.board = new Board(query.items.length, {
      noun: "Candidate", onchange: () => this.emphasise(), onsubmit: () => this.done(),
    });
    this.placer = query.observation.placeable
      ? new Placer(query, this.cloud, { best: () => this.board.levels[0]?.[0] ?? 0 })
      : null;
    if (this.placer) this.placer.onkeys = () => this.onkeys?.();
    this.hasClips = query.items.every((item) => item.cameras.length > 0);
    this.makeView();
    this.allBad = button("All bad", {
      class: "answer bad", key: "B", title: "None of them should be done",
      onclick: () => this.toggleAllBad(),
    });
    this.allBad.setAttribute("aria-pressed", "false");
    this.bar = h("div", { class: "answers ranked", role: "group", "aria-label": "Answer" },
      this.board.element,
      h("div", { class: "side-buttons" }, this.allBad,
        button("Cannot tell", { class: "answer plain", key: "↓", onclick: () => this.cannotTell() })));
    this.hasStrength = true;
  }

  makeView() {
    const zoom = (factor) => () => this.cloud.onzoom(factor);
    this.cloudTools = h("div", { class: "transport", role: "group", "aria-label": "View" },
      button("From above", { class: "quiet", key: "T", onclick: () => this.toggleTop() }),
      button("+", { class: "icon", "aria-label": "Nearer", onclick: zoom(0.8) }),
      button("−", { class: "icon", "aria-label": "Farther", onclick: zoom(1.25) }),
      button("Reset", { class: "quiet", key: "Home", onclick: () => this.cloud.reset() }),
      button("Whole scene", { class: "quiet", key: "End", onclick: () => this.cloud.widen() }),
      this.placer?.element);
    this.viewChoice = choice("Shown as", [
      { value: "cloud", label: "Paths" }, { value: "clips", label: "Clips" },
    ], "cloud", (value) => this.show(value));
    this.tools = h("div", { class: "tools" }, this.cloudTools);
    this.transport = h("div", { class: "transports" }, this.hasClips && [
      this.viewChoice.element, h("kbd", { "aria-hidden": "true" }, "V"),
    ], this.tools);
    const ownPart = this.placer ? " P places one of your own." : "";
    this.legend = h("p", { class: "legend small" },
      "A path of each colour is what one candidate does; its number stands where it ends. "
      + `The points are the scene.${ownPart}`);
    this.element = h("div", { class: "candidates" }, this.cloud.element, this.legend);
  }

  get keys() {
    const { cloud } = this;
    const turn = 0.12;
    return {
      ...this.board.keys,
      ...(this.stage?.keys ?? {}),
      ...(this.placer?.keys ?? {}),
      B: () => this.toggleAllBad(),
      ArrowDown: () => this.cannotTell(),
      T: () => this.toggleTop(),
      ...(this.hasClips
        ? { V: () => this.viewChoice.pick(this.viewChoice.value === "cloud" ? "clips" : "cloud") }
        : {}),
      Home: () => cloud.reset(), End: () => cloud.widen(),
      PageUp: () => cloud.onzoom(0.85), PageDown: () => cloud.onzoom(1 / 0.85),
      "Shift+ArrowLeft": () => cloud.onorbit(-turn, 0),
      "Shift+ArrowRight": () => cloud.onorbit(turn, 0),
      "Shift+ArrowUp": () => cloud.onorbit(0, turn),
      "Shift+ArrowDown": () => cloud.onorbit(0, -turn),
      "Shift+J": () => cloud.onpan(-0.06, 0), "Shift+L": () => cloud.onpan(0.06, 0),
      "Shift+I": () => cloud.onpan(0, 0.06), "Shift+K": () => cloud.onpan(0, -0.06),
    };
  }

  load() {
    return this.cloud.load();
  }

  toggleTop() {
    this.cloud.toggleMode();
  }

  /** Show the candidates as paths in space, or as clips of what they do. */
  async show(what) {
    if (what === "clips" && !this.stage) {
      this.stage = new Stage(this.query, { onpick: (place) => this.board.put(place) });
      this.onkeys?.();
    }
    const shown = what === "clips" ? [this.stage.element] : [this.cloud.element, this.legend];
    this.element.replaceChildren(...shown);
    this.tools.replaceChildren(what === "clips" ? this.stage.transport.element : this.cloudTools);
    say(what === "clips" ? "Clips" : "Paths in space");
    if (what === "clips" && !this.isLoaded) {
      this.isLoaded = true;
      try {
        await this.stage.load();
      } catch (error) {
        toast(error.message, { urgent: true });
      }
    }
  }

  emphasise() {
    const { levels } = this.board;
    this.cloud.emphasis = new Map(levels.flat().map((place) => [place, "weak"]));
    for (const place of levels.at(-1) ?? []) this.cloud.emphasis.set(place, "strong");
    if (this.board.isComplete) {
      this.cloud.emphasis = new Map(levels.slice(1).flat().map((place) => [place, "weak"]));
      for (const place of levels[0]) this.cloud.emphasis.set(place, "strong");
    }
    this.cloud.redraw();
    this.stage?.showRanks(levels);
  }

  toggleAllBad() {
    const isOn = this.allBad.getAttribute("aria-pressed") !== "true";
    this.allBad.setAttribute("aria-pressed", String(isOn));
    this.board.done.disabled = !isOn && !this.board.isComplete;
    say(isOn ? "All bad. Enter keeps the answer; a ranking may still be given." : "Not all bad");
  }

  get fields() {
    return {
      all_bad: this.allBad.getAttribute("aria-pressed") === "true",
      ...(this.placer?.proposed ? { proposed: this.placer.proposed } : {}),
    };
  }

  done() {
    const { fields } = this;
    if (this.board.isComplete) {
      this.submit({ answer: "ranked", order: inStoredOrder(this.query, this.board), ...fields },
        this.board.words());
    } else if (fields.all_bad && !this.board.levels.length) {
      this.submit({ answer: "incomparable", order: [], ...fields }, "All bad");
    } else {
      toast("Rank every candidate first, or press ↑ for the rest to be equal.");
    }
  }

  cannotTell() {
    this.submit({ answer: "incomparable", order: [], ...this.fields }, "Cannot tell");
  }

  close() {
    this.cloud.close();
    this.stage?.close();
  }
}
