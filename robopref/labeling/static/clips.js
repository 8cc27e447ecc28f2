/** Clips fetched whole, so that going anywhere in them needs no network, and kept for a while. */

import { ApiError, pause, send } from "./api.js";

const MOST_BYTES = 400e6;
const known = new Map();  // address -> {promise, url, bytes}
let total = 0;

/** Return the address of a clip in this browser's memory, once it is there. */
export function fetchClip(path) {
  const found = known.get(path);
  if (found) {
    known.delete(path);  // It is put in again, as the newest.
    known.set(path, found);
    return found.promise;
  }
  const entry = { bytes: 0, url: null };
  entry.promise = download(path).then(
    (blob) => {
      entry.bytes = blob.size;
      total += blob.size;
      entry.url = URL.createObjectURL(blob);
      forget(path);
      return entry.url;
    },
    (error) => {
      known.delete(path);  // Asked for again, it is tried again.
      throw error;
    },
  );
  known.set(path, entry);
  return entry.promise;
}

/** Fetch clips that are probably needed soon, one after the other. */
export async function prefetch(paths) {
  for (const path of paths) {
    try {
      await fetchClip(path);
    } catch {
      return;  // It is told when the clip is needed.
    }
  }
}

async function download(path) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await (await send(path, { timeoutS: 60 })).blob();
    } catch (error) {
      const isComing = error instanceof ApiError && error.status === 503;
      if (!isComing || tries >= 20) throw error;
      await pause(error.retryS ?? 1);
    }
  }
}

function forget(newest) {
  for (const [path, entry] of known) {
    if (total <= MOST_BYTES || path === newest) return;
    if (!entry.url) continue;
    URL.revokeObjectURL(entry.url);
    total -= entry.bytes;
    known.delete(path);
  }
}

/** Whether this browser plays what the server draws; null if it may. */
export function whyUnplayable(codec) {
  const video = document.createElement("video");
  const types = {
    h264: ['video/mp4; codecs="avc1.640028"', "H.264"],
    vp9: ['video/webm; codecs="vp9"', "VP9"],
  };
  const [type, name] = types[codec] ?? [];
  if (!type || video.canPlayType(type)) return null;
  const other = codec === "h264" ? "vp9" : "h264";
  return `This browser does not play ${name}. Use another browser, or start the server with ` +
    `--clips.codec ${other}.`;
}
