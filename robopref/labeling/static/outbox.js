/** Answers on their way: kept by the browser until the server has them, sent again with one id. */

import { ApiError, call, pause } from "./api.js";

const PREFIX = "robopref.outbox.";
const LONGEST_WAIT_S = 15;

export class Outbox {
  /**
   * @param {string} annotator Whose answers; those that a closed page left behind are sent first.
   * @param {(state: {waiting: number, trouble: string|null, retryS: number}) => void} onchange
   */
  constructor(annotator, onchange) {
    this.prefix = `${PREFIX}${annotator}.`;
    this.onchange = onchange;
    this.entries = [];
    this.running = null;
    this.wake = null;
    this.restore();
  }

  get size() {
    return this.entries.length;
  }

  /** Keep an answer and send it; resolves when the server has it, rejects if it refuses it. */
  add(path, body) {
    const entry = this.push(path, body);
    this.keep(entry);
    this.flush();
    return entry.done;
  }

  push(path, body) {
    const entry = { path, body };
    entry.done = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    this.entries.push(entry);
    return entry;
  }

  /** Send what waits, oldest first; resolves when nothing waits or somebody has to sign in. */
  flush() {
    this.wake?.abort();
    this.running ??= this.run().finally(() => { this.running = null; });
    return this.running;
  }

  async run() {
    for (let waitS = 1; this.entries.length; ) {
      const entry = this.entries[0];
      try {
        const answer = await call("POST", entry.path, entry.body, { timeoutS: 20 });
        this.drop(entry);
        waitS = 1;
        this.tell(null, 0);
        entry.resolve(answer);
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) {
          this.onSignedOut?.();
          return;
        }
        if (error instanceof ApiError && !error.isPassing) {
          this.drop(entry);
          entry.reject(error);
          continue;
        }
        this.tell(error instanceof ApiError ? error.message : "No connection.", waitS);
        this.wake = new AbortController();
        await pause(waitS, this.wake.signal);
        this.wake = null;
        waitS = Math.min(2 * waitS, LONGEST_WAIT_S);
      }
    }
  }

  tell(trouble, retryS) {
    this.onchange({ waiting: this.entries.length, trouble, retryS });
  }

  keep(entry) {
    try {
      localStorage.setItem(this.prefix + entry.body.id, JSON.stringify(entry));
    } catch {
      // No room, or forbidden: it is kept as long as the page is open.
    }
  }

  drop(entry) {
    this.entries = this.entries.filter((each) => each !== entry);
    try {
      localStorage.removeItem(this.prefix + entry.body.id);
    } catch {
      // Nothing was kept.
    }
  }

  restore() {
    let keys = [];
    try {
      keys = Object.keys(localStorage).filter((key) => key.startsWith(this.prefix));
    } catch {
      // Storage is forbidden.
    }
    for (const key of keys) {
      try {
        const { path, body } = JSON.parse(localStorage.getItem(key));
        // Nobody waits for what an earlier page sent.
        this.push(path, body).done.catch(() => {});
      } catch {
        localStorage.removeItem(key);
      }
    }
  }
}
