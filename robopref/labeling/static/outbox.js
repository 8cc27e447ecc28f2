/** Answers on their way: kept by the browser until the server has them, sent again with one id. */

import { ApiError, call, pause } from "./api.js";

const PREFIX = "robopref.outbox/";
const LONGEST_WAIT_S = 15;
const FAULTS = 3;       // Of the server at one answer, after which it lets the others pass.
const ASIDE_S = 60;     // After which it is tried again.

export class Outbox {
  /**
   * @param {string} annotator Whose answers; those that a closed page left behind are sent first.
   * @param {object} told
   * @param {(state: {waiting: number, trouble: string|null, retryS: number}) => void} told.onchange
   * @param {(message: string) => void} told.onrefused What became of an answer that nobody waits
   *   for: the server will not have it, or fails at it.
   * @param {() => void} told.onsignedout
   */
  constructor(annotator, { onchange, onrefused, onsignedout }) {
    Object.assign(this, { annotator, onchange, onrefused, onsignedout });
    // A name may hold any sign but, in this form, no slash: "anna" is not the start of "anna.k".
    this.prefix = `${PREFIX}${encodeURIComponent(annotator)}/`;
    this.entries = [];
    this.running = null;
    this.wake = null;
    this.restore();
  }

  get size() {
    return this.entries.length;
  }

  /** Keep an answer and send it; resolves when the server has it, rejects if it will not. */
  add(path, body) {
    const entry = this.push(path, body, this.prefix + body.id);
    entry.done = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    this.keep(entry);
    this.flush();
    return entry.done;
  }

  push(path, body, key) {
    const entry = { path, body, key, faults: 0 };
    this.entries.push(entry);
    return entry;
  }

  /** Send what waits; resolves when all was tried that can be, or somebody has to sign in. */
  flush() {
    this.wake?.abort();
    clearTimeout(this.timer);
    this.running ??= this.run().finally(() => { this.running = null; });
    return this.running;
  }

  /** Send the oldest first; what the server fails at comes last, and is tried once. */
  async run() {
    for (const entry of this.entries) entry.faults = Math.min(entry.faults, FAULTS - 1);
    let waitS = 1;
    for (let entry = this.first(); entry; entry = this.first()) {
      try {
        const answer = await call("POST", entry.path, entry.body,
          { timeoutS: 20, annotator: this.annotator });
        this.drop(entry);
        waitS = 1;
        this.tell(null, 0);
        entry.resolve?.(answer);
      } catch (error) {
        const isAnswered = error instanceof ApiError;
        if (isAnswered && error.isOfAnother) return;  // They stay with their author.
        if (isAnswered && error.status === 401) {
          this.onsignedout();
          return;
        }
        if (isAnswered && !error.isPassing) {
          this.drop(entry);
          this.refuse(entry, error, "An answer that was kept was not stored");
          continue;
        }
        if (isAnswered && error.status === 500 && (entry.faults += 1) >= FAULTS) {
          this.setAside(entry, error);
          continue;
        }
        this.tell(isAnswered ? error.message : "No connection.", waitS);
        this.wake = new AbortController();
        await pause(waitS, this.wake.signal);
        this.wake = null;
        waitS = Math.min(2 * waitS, LONGEST_WAIT_S);
      }
    }
    if (!this.entries.length) return;
    this.tell(this.entries[0].trouble, ASIDE_S);
    this.timer = setTimeout(() => this.flush(), ASIDE_S * 1000);
  }

  /** The entry to be sent next: the oldest of those that the server failed at least often. */
  first() {
    const left = this.entries.filter(({ faults }) => faults < FAULTS);
    return left.find(({ isAside }) => !isAside) ?? left[0];
  }

  /** Let the others pass an answer at which the server fails, not for want of connection or room. */
  setAside(entry, error) {
    entry.trouble = error.message;
    if (entry.isAside) return;
    entry.isAside = true;
    this.refuse(entry, new ApiError(error.status, error.code,
      `The server fails at an answer (${error.message}) It is kept and tried again; ` +
      "the others are sent."));
  }

  /** Tell who waits for an entry, or else everybody, what became of it. */
  refuse(entry, error, words = null) {
    if (entry.reject) entry.reject(error);
    else this.onrefused(words ? `${words}: ${error.message}` : error.message);
    entry.resolve = entry.reject = null;
  }

  tell(trouble, retryS) {
    this.onchange({ waiting: this.entries.length, trouble, retryS });
  }

  keep({ key, path, body }) {
    try {
      localStorage.setItem(key, JSON.stringify({ path, body }));
    } catch {
      // No room, or forbidden: it is kept as long as the page is open.
    }
  }

  drop(entry) {
    this.entries = this.entries.filter((each) => each !== entry);
    try {
      localStorage.removeItem(entry.key);
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
        this.push(path, body, key);
      } catch {
        localStorage.removeItem(key);
      }
    }
  }
}
