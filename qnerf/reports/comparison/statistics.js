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
  const better = (a, b) => {
    const gains = [0, 1].map((axis) => signs[axis] * (a[axis] - b[axis]));
    return gains.every((gain) => gain >= 0) && gains.some((gain) => gain > 0);
  };
  return points.map((_, i) => i).filter((i) => !points.some((other) => better(other, points[i])));
}
