/** Colours of a point cloud and its paths: those of the page, on its ground. */

const NUM_COLORS = 9;
const LEAST = 80;   // Difference in lightness to the ground, of 255, that is seen.
const MOST = 150;   // That a point has, so that paths stand out from it on a dark ground.

/** Return the colours of the numbers, of what is placed, and of what is behind, as [r, g, b]. */
export function readColors() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => {
    const [, ...pairs] = /^#(..)(..)(..)$/.exec(style.getPropertyValue(name).trim());
    return pairs.map((pair) => Number.parseInt(pair, 16));
  };
  return {
    palette: Array.from({ length: NUM_COLORS }, (_each, place) => read(`--c${place + 1}`)),
    ink: read("--ink"), ground: read("--cloud"),
  };
}

/** Return colours of points (P, 3) as bytes, moved away from a ground that is as light as they. */
export function contrasted(colors, ground) {
  const found = new Uint8ClampedArray(colors);
  const behind = lightness(ground);
  for (let k = 0; k < found.length; k += 3) {
    const gap = lightness(found.subarray(k, k + 3)) - behind;
    let shift = 0;
    if (Math.abs(gap) < LEAST) shift = (behind > 127 ? -LEAST : LEAST) - gap;
    else if (gap > MOST) shift = MOST - gap;
    for (let each = k; shift && each < k + 3; each += 1) found[each] += shift;
  }
  return new Uint8Array(found.buffer);
}

function lightness([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue;
}
