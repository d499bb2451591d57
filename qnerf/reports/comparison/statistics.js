"use strict";
// Means, bootstrap intervals and the Pareto front: plain functions of numbers, tested without a browser.

/** Mulberry32: a small seeded generator of numbers in [0, 1), so that a page shows the same intervals each time. */
function seededRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The mean over scenes of the mean over each scene's runs: a scene with more seeds weighs no more than another. */
function meanOverScenes(byScene) {
  return mean(byScene.map(mean));
}

/**
 * A percentile bootstrap interval in two stages (Davison & Hinkley 1997, 3.8): scenes are drawn with replacement, then runs
 * within each. byScene: the values of every scene. Null where there is a single value, from which no interval follows.
 */
function bootstrapInterval(byScene, level = 0.95, resamples = 2000, seed = 1) {
  if (byScene.flat().length < 2) return null;
  const random = seededRandom(seed);
  const draw = (items) => items.map(() => items[Math.floor(random() * items.length)]);
  const scenes = byScene.length > 1 ? draw : (items) => items;
  const means = Array.from({ length: resamples }, () => meanOverScenes(scenes(byScene).map(draw))).sort((a, b) => a - b);
  return [quantile(means, (1 - level) / 2), quantile(means, (1 + level) / 2)];
}

/** The quantile of sorted values, interpolated linearly (NumPy's default). */
function quantile(sorted, q) {
  const place = q * (sorted.length - 1);
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (place - low) * (sorted[high] - sorted[low]);
}

/**
 * The indices of the points that no other point beats: as good in both and better in one. points: [x, y]; signs: +1 where
 * higher is better, -1 where lower is.
 */
function paretoFront(points, signs) {
  const better = (a, b) => {
    const gains = [0, 1].map((axis) => signs[axis] * (a[axis] - b[axis]));
    return gains.every((gain) => gain >= 0) && gains.some((gain) => gain > 0);
  };
  return points.map((_, i) => i).filter((i) => !points.some((other) => better(other, points[i])));
}
