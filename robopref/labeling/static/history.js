/** One's own answers, newest first, each of which can be taken back. */

import { call } from "./api.js";
import { fetchClip } from "./clips.js";
import { button, h, when } from "./dom.js";

const MOST_STILLS = 4;

export class History {
  /** @param {(id: string) => void} onundo */
  constructor(onundo) {
    this.onundo = onundo;
    this.list = h("ol", { class: "history-list" });
    // Of fifty answers few are looked at: pictures come with the rows that are seen.
    this.observer = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting) this.showStills(target);
    });
    this.dialog = h("dialog", { class: "drawer", "aria-label": "My answers" },
      h("header", {}, h("h2", {}, "My answers"),
        button("Close", { class: "quiet", key: "Esc", onclick: () => this.dialog.close() })),
      this.list);
    document.body.append(this.dialog);
  }

  async open() {
    this.observer.disconnect();
    this.list.replaceChildren(h("li", { class: "muted" }, "Loading"));
    if (!this.dialog.open) this.dialog.showModal();
    try {
      const { answers } = await call("GET", "/api/answers/mine?limit=50");
      const rows = answers.map((answer) => this.row(answer));
      this.list.replaceChildren(...(rows.length ? rows : [h("li", { class: "muted" }, "Nothing yet.")]));
    } catch (error) {
      this.list.replaceChildren(h("li", { class: "muted" }, error.message));
    }
  }

  row(answer) {
    const words = inWords(answer);
    const tags = answer.details?.tags ?? [];
    const stills = h("div", { class: "stills", hidden: true, "data-query": answer.query_id });
    const row = h("li", {}, stills,
      h("div", {},
        h("strong", {}, words),
        h("p", { class: "muted small" },
          [answer.criterion, ...tags, answer.reason].filter(Boolean).join(" · "))),
      h("time", { class: "muted small" }, when(answer.time_s)),
      button("Undo", {
        class: "quiet", "aria-label": `Undo: ${words}`,
        onclick: () => { this.dialog.close(); this.onundo(answer.id); },
      }));
    row.order = answer.details?.shown;
    this.observer.observe(row);
    return row;
  }

  /** Show the clips of an answer in the order in which they were judged; pointed at, they play. */
  async showStills(row) {
    this.observer.unobserve(row);
    const box = row.querySelector(".stills");
    try {
      const { clips } = await call("GET", `/api/queries/${encodeURIComponent(box.dataset.query)}/clips`);
      const order = row.order ?? clips.map((_clip, place) => place);
      const paths = order.map((place) => Object.values(clips[place])[0]).filter(Boolean);
      const urls = await Promise.all(paths.slice(0, MOST_STILLS).map(fetchClip));
      box.replaceChildren(...urls.map((src, place) => still(src, place)));
      box.hidden = !urls.length;
    } catch (error) {
      box.title = error.message;  // The words of the row are there without them.
    }
  }

  close() {
    this.observer.disconnect();
    this.dialog.remove();
  }
}

function still(src, place) {
  const video = h("video", { src, muted: true, playsinline: true, loop: true, preload: "auto",
    "aria-label": `Clip ${place + 1}` });
  video.muted = true;
  const play = () => video.play().catch(() => {});
  video.addEventListener("pointerenter", play);
  video.addEventListener("click", play);
  video.addEventListener("pointerleave", () => video.pause());
  return video;
}

/** Return an answer in the words of who gave it, who saw the items in the order `shown`. */
export function inWords({ answer, rating, order, mark_step: mark, details }) {
  if (rating) {
    const where = mark === null || mark === undefined ? "" : `, wrong at step ${mark}`;
    return rating[0].toUpperCase() + rating.slice(1) + where;
  }
  if (answer !== "ranked") {
    return answer === "skipped" ? "Skipped" : details?.all_bad ? "All bad" : "Cannot tell";
  }
  const shown = details?.shown;
  const number = (index) => (shown ? shown.indexOf(index) : index) + 1;
  if (order.flat().length === 2) {
    if (order.length === 1) return "Equal";
    return number(order[0][0]) === 1 ? "First is better" : "Second is better";
  }
  return order.map((group) => group.map(number).sort().join(" = ")).join(" > ");
}
