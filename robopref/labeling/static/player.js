/**
 * Plays several clips in step.
 *
 * The videos themselves are not on the page. Each picture that one of them presents is copied into
 * a buffer, and the buffers are shown together, only when their pictures are of the same time give
 * or take one frame. So what is seen is in step whatever the browser's decoders do; a video that
 * runs ahead is slowed down or waits.
 */

import { pause } from "./api.js";

export const SPEEDS = [0.25, 0.5, 1, 2];
const HOLD_MS = 450;  // The last picture is looked at before a loop begins again.
const AHEAD = 1;      // Frames that clips may differ by.
const LONGEST_SEEK_S = 2;

class Track {
  constructor(canvas, fps, onframe) {
    Object.assign(this, { canvas, fps, onframe, frame: -1, shown: -1, held: false });
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, playsInline: true, preload: "auto" });
    this.buffer = document.createElement("canvas");
    this.closed = false;
  }

  async load(url) {
    const { video } = this;
    await new Promise((resolve, reject) => {
      video.addEventListener("loadeddata", resolve, { once: true });
      video.addEventListener("error", () => reject(new PlayError(video.error)), { once: true });
      video.src = url;
      video.load();
    });
    for (const canvas of [this.canvas, this.buffer]) {
      canvas.width = video.videoWidth;
      canvas.height = video.videoHeight;
    }
    video.addEventListener("ended", async () => {
      // The last picture may have been passed over without being presented.
      await this.captureSoon(Math.round(video.duration * this.fps) - 1);
      this.onframe(this);
    });
    this.listen();
  }

  listen() {
    if (this.closed) return;
    if ("requestVideoFrameCallback" in this.video) {
      this.video.requestVideoFrameCallback((_now, { mediaTime }) => this.present(mediaTime));
    } else {
      requestAnimationFrame(() => this.present(this.video.currentTime));
    }
  }

  present(mediaTime) {
    // Without the callback the time is not the picture's own but one that falls into it.
    const isExact = "requestVideoFrameCallback" in this.video;
    const frame = Math.round(mediaTime * this.fps - (isExact ? 0 : 0.5));
    if (frame !== this.frame) this.capture(frame);
    this.onframe(this);
    this.listen();
  }

  /** Keep the picture that the video is at; return whether there is one. */
  capture(frame) {
    if (!("VideoFrame" in window)) return this.keep(this.video, frame);
    let picture;
    try {
      picture = new VideoFrame(this.video);
    } catch {
      return false;  // On a busy machine it may not be there yet, for all that the video says.
    }
    // Or the video may be a frame on: the picture itself knows.
    this.keep(picture, Math.round(picture.timestamp * 1e-6 * this.fps));
    picture.close();
    return true;
  }

  /** Keep the picture that the video is at, as soon as there is one. */
  async captureSoon(frame) {
    const end = performance.now() + 1000 * LONGEST_SEEK_S;
    while (!this.closed) {
      if (this.capture(frame)) return;
      if (performance.now() > end) {
        this.keep(this.video, frame);
        return;
      }
      await pause(0.01);
    }
  }

  keep(picture, frame) {
    this.buffer.getContext("2d").drawImage(picture, 0, 0);
    this.frame = frame;
    return true;
  }

  show() {
    if (this.shown === this.frame) return;
    this.canvas.getContext("2d").drawImage(this.buffer, 0, 0);
    this.shown = this.frame;
  }

  /** Go to the middle of a frame, where rounding cannot reach its neighbours. */
  async seek(frame) {
    const { video } = this;
    const time = Math.min((frame + 0.5) / this.fps, Math.max(video.duration - 1e-3, 0));
    await new Promise((resolve) => {
      const done = () => { clearTimeout(timer); resolve(); };
      const timer = setTimeout(done, 1000 * LONGEST_SEEK_S);
      video.addEventListener("seeked", done, { once: true });
      video.currentTime = time;
    });
    await this.captureSoon(frame);
  }

  close() {
    this.closed = true;
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
  }
}

/** A clip that this browser cannot play. */
export class PlayError extends Error {
  constructor(error) {
    super(error?.message || "The clip cannot be played.");
    this.isFormat = [MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED, MediaError.MEDIA_ERR_DECODE]
      .includes(error?.code);
  }
}

export class Player {
  /**
   * @param {HTMLCanvasElement[]} canvases Where the clips are shown.
   * @param {{fps: number, numFrames: number, onchange: () => void}} options Pictures a second and
   *   of each clip; what to call when the picture or anything else has changed.
   */
  constructor(canvases, { fps, numFrames, onchange }) {
    Object.assign(this, { fps, numFrames, onchange });
    this.tracks = canvases.map((canvas) => new Track(canvas, fps, () => this.step()));
    this.playing = false;
    this.looping = true;
    this.speed = 1;
    this.target = null;
    this.seeking = null;
    this.drift = { now: 0, max: 0, shown: 0 };
    this.onhide = () => { if (document.hidden) this.pause(); };
    document.addEventListener("visibilitychange", this.onhide);
  }

  /** The picture that is seen, from 0. */
  get frame() {
    return Math.max(0, Math.min(...this.tracks.map((track) => track.shown)));
  }

  get last() {
    return this.numFrames - 1;
  }

  async load(urls) {
    await Promise.all(this.tracks.map((track, index) => track.load(urls[index])));
    await this.seek(0);
  }

  /** Replace the clips, by those of another camera, at the same picture. */
  async swap(urls) {
    const { frame, playing } = this;
    this.pause();
    this.tracks = this.tracks.map((track) => {
      track.close();
      return new Track(track.canvas, this.fps, () => this.step());
    });
    await Promise.all(this.tracks.map((track, index) => track.load(urls[index])));
    await this.seek(frame);
    if (playing) await this.play();
  }

  async play() {
    if (this.playing) return;
    this.playing = true;
    this.onchange();
    if (this.frame >= this.last) await this.seek(0);
    await this.run();
  }

  pause() {
    clearTimeout(this.timer);
    this.playing = false;
    for (const { video } of this.tracks) video.pause();
    this.onchange();
    // Both stop where the slower one was.
    if (this.tracks.some((track) => track.frame !== this.frame) && this.tracks[0].frame >= 0) {
      this.seek(this.frame);
    }
  }

  toggle() {
    return this.playing ? this.pause() : this.play();
  }

  setSpeed(speed) {
    this.speed = speed;
    for (const { video } of this.tracks) video.playbackRate = speed;
    this.onchange();
  }

  stepBy(frames) {
    if (this.playing) this.pause();
    return this.seek((this.target ?? this.frame) + frames);
  }

  /** Go to a picture; while that takes time, only the newest wish counts. */
  seek(frame) {
    this.target = Math.min(Math.max(Math.round(frame), 0), this.last);
    this.seeking ??= this.chase().finally(() => { this.seeking = null; });
    return this.seeking;
  }

  async chase() {
    const { tracks } = this;
    for (const { video } of tracks) video.pause();
    while (this.target !== null && tracks === this.tracks && !this.closed) {
      const frame = this.target;
      await Promise.all(tracks.map((track) => track.seek(frame)));
      if (this.target === frame) this.target = null;
      this.showTogether();
    }
  }

  /** Scrub: go to a picture, and play on from there if it was playing. */
  async scrub(frame) {
    const wasPlaying = this.playing;
    await this.seek(frame);
    if (wasPlaying && this.playing) await this.run();
  }

  async run() {
    while (this.seeking) await this.seeking;
    if (!this.playing || this.closed) return;
    for (const track of this.tracks) {
      track.held = false;
      track.video.playbackRate = this.speed;
    }
    await Promise.all(this.tracks.map(({ video }) => video.play().catch(() => {})));
  }

  /** Called at every picture of any clip. */
  step() {
    if (this.seeking || this.closed) return;
    this.showTogether();
    if (!this.playing) return;
    const frames = this.tracks.map((track) => Math.min(track.frame, this.last));
    if (Math.min(...frames) >= this.last || this.tracks.every(({ video }) => video.ended)) {
      this.end();
    } else {
      this.keepInStep();
    }
  }

  showTogether() {
    const frames = this.tracks.map((track) => Math.min(track.frame, this.last));
    if (Math.max(...frames) - Math.min(...frames) > AHEAD) return;
    const before = this.frame;
    for (const track of this.tracks) track.show();
    const shown = this.tracks.map((track) => Math.min(track.shown, this.last));
    const drift = Math.max(...shown) - Math.min(...shown);
    this.drift = { now: drift, max: Math.max(drift, this.drift.max), shown: this.drift.shown + 1 };
    if (before !== this.frame || !this.playing) this.onchange();
  }

  keepInStep() {
    const times = this.tracks.map(({ video }) => video.currentTime * this.fps);
    const slowest = Math.min(...times);
    this.tracks.forEach((track, index) => {
      const ahead = times[index] - slowest;
      const { video } = track;
      if (ahead > AHEAD && !video.paused) {
        track.held = true;
        video.pause();
      } else if (track.held && ahead < AHEAD / 2) {
        track.held = false;
        video.play().catch(() => {});
      }
      const rate = this.speed * (1 - Math.min(0.15, 0.15 * ahead));
      if (Math.abs(video.playbackRate - rate) > 0.02 * this.speed) video.playbackRate = rate;
    });
  }

  end() {
    for (const { video } of this.tracks) video.pause();
    if (!this.looping) {
      this.playing = false;
      this.onchange();
      return;
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      if (!this.playing || this.closed) return;
      await this.seek(0);
      await this.run();
    }, HOLD_MS / this.speed);
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.onhide);
    for (const track of this.tracks) track.close();
  }
}
