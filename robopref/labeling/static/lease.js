/** Keeps a query for who looks at it, and notices when nobody does. */

import { ApiError, call } from "./api.js";

let lastInput = performance.now();
for (const type of ["keydown", "pointerdown", "pointermove", "wheel"]) {
  window.addEventListener(type, () => { lastInput = performance.now(); }, { passive: true });
}

export class LeaseKeeper {
  /**
   * @param {object} lease The server's {id, expires_s}.
   * @param {{leaseS: number, idleS: number, onlost: () => void}} options How long a lease lasts,
   *   after what time without a key or a touch it is not renewed [s].
   */
  constructor(lease, { leaseS, idleS, onlost }) {
    Object.assign(this, { id: lease.id, leaseS, idleS, onlost });
    this.until = performance.now() + leaseS * 1000;
    this.lost = false;
    this.timer = setInterval(() => this.check(), Math.min(leaseS / 3, 20) * 1000);
  }

  stop() {
    this.stopped = true;
    clearInterval(this.timer);
  }

  async check() {
    const now = performance.now();
    const isIdle = document.hidden || now - lastInput > this.idleS * 1000;
    if (now > this.until) this.lose();
    else if (!isIdle && this.until - now < 700 * this.leaseS) await this.renew();
  }

  async renew() {
    try {
      const sent = performance.now();
      await call("POST", `/api/leases/${this.id}/renew`, undefined, { timeoutS: 10 });
      this.until = sent + this.leaseS * 1000;
    } catch (error) {
      // A renewal that was under way when the query was left says nothing about what is shown now.
      if (!this.stopped && error instanceof ApiError && error.status === 409) this.lose();
      // Else it is tried again at the next check, and the answer is taken late if it has to be.
    }
  }

  lose() {
    this.stop();
    if (!this.lost) this.onlost();
    this.lost = true;
  }
}
