"use strict";
// Means and the Pareto front: plain functions of numbers, tested without a browser. Intervals are computed in Python.

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The mean over scenes of the mean over each scene's runs: a scene with more seeds weighs no more than another. */
function meanOverScenes(byScene) {
  return mean(byScene.map(mean));
}

/**
 * The indices of the points that no other point beats: as good in both and better in one. points: [x, y]; signs: +1 where
 * higher is better, -1 where lower is.
 */
function paretoFront(points, signs) {
  const gains = points.map((point) => [0, 1].map((axis) => signs[axis] * point[axis]));
  const order = points.map((_, i) => i).sort((a, b) => gains[b][0] - gains[a][0] || gains[b][1] - gains[a][1]);
  const front = [];
  let best = -Infinity; // the second gain of points whose first is higher
  for (let start = 0, end = 0; start < order.length; start = end) { // points whose first gain is the same: the first has the best second
    const [first, second] = gains[order[start]];
    while (end < order.length && gains[order[end]][0] === first) end += 1;
    if (second > best) front.push(...order.slice(start, end).filter((i) => gains[i][1] === second));
    best = Math.max(best, second);
  }
  return front.sort((a, b) => a - b);
}
