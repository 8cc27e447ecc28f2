/** The labelling page: one query after the other, until there is none. */

import { ApiError, LostConnectionError, call, newId, pause } from "./api.js";
import { CandidatesJudge } from "./candidates.js";
import { prefetch } from "./clips.js";
import { criterionPicker } from "./criterion.js";
import { button, say, toast } from "./dom.js";
import { Extras } from "./extras.js";
import { History } from "./history.js";
import { addKeys } from "./keys.js";
import { LabelFrame } from "./label_frame.js";
import { LeaseKeeper } from "./lease.js";
import { PairJudge } from "./pair.js";
import { RankingJudge } from "./ranking.js";
import { RatingJudge } from "./rating.js";
import { whyNothing, whyNotShown } from "./words.js";

const JUDGES = {
  pair: PairJudge, ranking: RankingJudge, candidates: CandidatesJudge, rating: RatingJudge,
};
const FLASH_S = 0.16;   // So that one sees what was chosen.
const OUTBOX_S = 5;      // That unsent answers are waited for.
const IDLE_S = 180;     // After which a query goes to who is there.

export class LabelPage {
  /** @param {{project: object, outbox: Outbox, annotator: string}} app */
  constructor(app) {
    this.app = app;
    this.title = "Label";
    this.history = new History((id) => this.undo(id));
    this.stopKeys = addKeys({
      Z: () => this.undo(), "Shift+Z": () => this.history.open(), X: () => this.skip(),
    });
    this.stop = new AbortController();
    this.picker = criterionPicker(app.project, async () => {
      await this.leave();
      this.next();
    }, { all: "All criteria" });
    this.frame = new LabelFrame(app, {
      picker: this.picker.element, onskip: () => this.skip(), onundo: () => this.undo(),
      onhistory: () => this.history.open(),
    });
    this.element = this.frame.element;
  }

  /** Called once the page is on the screen. */
  async start() {
    // What an earlier page left goes first, or its query would be asked again.
    const { outbox } = this.app;
    if (outbox.size) await Promise.race([outbox.flush(), pause(OUTBOX_S, this.stop.signal)]);
    if (!this.stop.signal.aborted) await this.next();
  }

  // ---- the next query -------------------------------------------------------------------------

  async next() {
    const turn = (this.turn = {});
    this.frame.state = "loading";
    while (turn === this.turn && !this.stop.signal.aborted) {
      try {
        const only = this.picker.value;
        const found = await call("POST", "/api/next", only ? { criterion: only } : {},
          { signal: this.stop.signal });
        if (turn !== this.turn) return;
        this.app.setLost(null);
        if (found.query) return await this.show(found);
        this.showEmpty(found.reason);
        await pause(found.retry_s ?? 5, this.stop.signal);
      } catch (error) {
        if (this.stop.signal.aborted || turn !== this.turn) return;
        if (!this.app.handle(error)) return;
        await pause(2, this.stop.signal);
      }
    }
  }

  async show({ query, ahead = [], progress }) {
    this.clear();
    this.query = query;
    this.frame.ask(query, progress);
    const options = {
      submit: (fields, words) => this.submit(fields, words),
      showReward: this.app.project.settings.show_reward_lane,
    };
    this.judge = new JUDGES[query.kind](query, options);
    this.extras = new Extras({
      tags: this.app.project.tags,
      strength: this.app.project.settings.strength_default ?? 2,
      hasStrength: this.judge.hasStrength,
    });
    this.frame.show(this.judge, this.extras);
    this.keep(query.lease);
    await this.load(query, ahead);
  }

  keep(lease) {
    this.lease = new LeaseKeeper(lease, {
      leaseS: this.app.project.settings.lease_s ?? 120,
      idleS: this.app.idleS ?? IDLE_S,
      onlost: () => this.showExpired(),
    });
  }

  async load(query, ahead) {
    const { judge } = this;
    this.shownAt = performance.now();
    this.isDrawing = true;
    this.tellKeys();
    try {
      await judge.load();
    } catch (error) {
      if (judge !== this.judge) return;
      this.isDrawing = false;
      this.showUnplayable(error);
      return;
    }
    if (judge !== this.judge) return;
    this.isDrawing = false;
    this.shownAt = performance.now();
    this.frame.state = "ready";
    this.setKeys();
    judge.onkeys = () => this.setKeys();
    say(`${query.question} By ${query.criterion}.`);
    prefetch(ahead.flatMap((each) => each.clips.map((clips) => Object.values(clips)[0])).filter(Boolean));
  }

  /** Say why a key does nothing yet: what is to be judged is not there. */
  tellKeys() {
    const tell = () => this.tellDrawing();
    const answers = Object.keys(this.judge.keys).map((key) => [key, tell]);
    this.stopJudgeKeys?.();
    this.stopJudgeKeys = addKeys({ ...Object.fromEntries(answers), ...this.extras.keys });
  }

  tellDrawing() {
    this.judge?.stage?.mark([]);
    toast("The clips are being drawn; keys answer once they are there. X skips them.");
  }

  setKeys() {
    this.stopJudgeKeys?.();
    this.stopJudgeKeys = addKeys({ ...this.extras.keys, ...this.judge.keys }, {
      repeat: [",", ".", "<", ">", "PageUp", "PageDown", "Shift+ArrowLeft", "Shift+ArrowRight",
        "Shift+ArrowUp", "Shift+ArrowDown"],
    });
  }

  // ---- answers --------------------------------------------------------------------------------

  async submit(fields, words) {
    if (this.isDrawing) this.tellDrawing();
    if (this.frame.state !== "ready") return;
    this.frame.state = "sending";
    const { query } = this;
    const isRating = query.kind === "rating";
    const body = {
      id: newId(), query: query.id, criterion: query.criterion,
      ...this.extras.fields, ...(isRating ? {} : { shown: query.order }), ...fields,
      response_time_s: (performance.now() - this.shownAt) / 1000,
    };
    this.lease.stop();
    this.last = { id: body.id, words };
    const sent = this.app.outbox.add(isRating ? "/api/ratings" : "/api/answers", body);
    say(words);
    const flash = pause(FLASH_S);
    try {
      await sent;
    } catch (error) {
      this.last = null;
      this.showRefused(error);
    }
    await flash;
    if (query === this.query) await this.next();
  }

  skip() {
    const isWaiting = this.isDrawing || this.frame.state === "unplayable";
    if (this.isDrawing) this.closeJudge();  // What is still being drawn is not waited for.
    if (isWaiting) this.frame.state = "ready";
    const isRating = this.query?.kind === "rating";
    this.submit(isRating ? { rating: "skipped", mark_step: null } : { answer: "skipped", order: [] },
      "Skipped");
  }

  showRefused(error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, { urgent: true, seconds: 9 });
  }

  /** Take back an own answer, the last one unless told otherwise, and judge its query again. */
  async undo(id = this.last?.id) {
    if (this.isUndoing) return;
    this.isUndoing = true;
    try {
      await this.app.outbox.flush();
      id ??= (await call("GET", "/api/answers/mine?limit=1")).answers[0]?.id;
      if (!id) {
        toast("There is nothing to undo.");
        return;
      }
      const turn = (this.turn = {});
      this.lease?.stop();
      const found = await call("POST", `/api/answers/${id}/undo`);
      this.last = null;
      if (turn !== this.turn) return;
      toast("Taken back. Answer it anew.");
      await this.show(found);
    } catch (error) {
      if (error instanceof ApiError && !error.isOfSession) toast(error.message, { urgent: true });
      else this.app.handle(error);
      if (!this.judge) await this.next();
    } finally {
      this.isUndoing = false;
    }
  }

  // ---- when there is nothing to judge ---------------------------------------------------------

  showEmpty(reason) {
    // Only there it is said which ones, and why.
    const link = reason === "cannot be shown" ? this.frame.link("/progress", "To Progress")
      : this.query?.compares_policies ? this.frame.link("/compare", "To Compare") : null;
    this.showMessage("empty", ...whyNothing(reason), link);
  }

  showExpired() {
    if (this.frame.state === "sending") return;
    this.showMessage("expired", "This query was given back",
      "It was open for a while without a sign of you, so that somebody else may answer it.",
      button("Go on", { class: "primary", key: "Enter", onclick: () => this.next() }));
    this.stopJudgeKeys = addKeys({ Enter: () => this.next(), Space: () => this.next() });
  }

  showUnplayable(error) {
    if (error instanceof ApiError && error.isOfSession) return this.app.handle(error);
    const words = whyNotShown(error, this.app.project.settings.codec);
    const again = error instanceof LostConnectionError;
    if (again) this.app.handle(error);
    this.shownAt = performance.now();
    this.frame.cover("unplayable", "This query cannot be shown", words,
      button("Try again", { class: "primary", key: "Enter", onclick: () => this.next() }),
      again ? null : button("Skip", { class: "quiet", key: "X", onclick: () => this.skip() }));
    this.stopJudgeKeys = addKeys({ Enter: () => this.next() });
  }

  showMessage(...notice) {
    if (this.frame.says(...notice)) return;
    this.clear();
    this.frame.tell(...notice);
  }

  clear() {
    this.frame.message = null;
    this.stopJudgeKeys?.();
    this.stopJudgeKeys = null;
    this.lease?.stop();
    this.closeJudge();
  }

  closeJudge() {
    this.isDrawing = false;
    this.judge?.close();
    this.judge = null;
  }

  /** Give back what is held, as far as that is possible now. */
  async leave() {
    if (!this.judge || !this.lease || this.lease.lost) return;
    await call("DELETE", `/api/leases/${this.lease.id}`, undefined, { timeoutS: 5 }).catch(() => {});
  }

  close() {
    this.stop.abort();
    this.turn = null;
    this.clear();
    this.stopKeys();
    this.history.close();
  }
}

