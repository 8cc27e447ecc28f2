/** What the labelling page says where there is nothing to judge. */

import { whyUnplayable } from "./clips.js";
import { PlayError } from "./player.js";

const NOTHING = {
  "all answered": ["All done", "Every query has its answers. New ones appear here by themselves."],
  "waiting for others": ["Nothing for you just now",
    "What is left is with others. It comes here if they leave it."],
  "cannot be shown": ["Some queries cannot be shown",
    "What is left of them waits until somebody looks at why. The page “Progress” says it."],
  "no queries yet": ["No queries yet", "They appear here as soon as there are some."],
};

/** Return a title and a sentence for why there is no query. */
export function whyNothing(reason) {
  return NOTHING[reason] ?? ["One moment", reason];
}

/** Return why a query cannot be shown: that this browser cannot play it, or what went wrong. */
export function whyNotShown(error, codec) {
  const isFormat = error instanceof PlayError && error.isFormat;
  return whyUnplayable(codec) ?? (isFormat
    ? "This browser cannot decode the clip. Another browser may, or another codec of the server."
    : error.message);
}
