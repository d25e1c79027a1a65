"""Association: which detection belongs to which track, all at once and optimally."""

from __future__ import annotations

import numpy as np
from nims_ext.track import assign


def associate(pairs: np.ndarray, tracks: int, detections: int) -> np.ndarray:
    """Return the indices of the pairs to be joined: those of the greatest sum of gains, each track and detection once.

    Tracks and detections that no chain of pairs connects do not matter to each other: each connected part is solved by
    itself, and most have one pair.

    Args:
      pairs: dtype nims_ext.track.PAIR, of positive gain.
      tracks, detections: how many there are.
    """
    if not len(pairs):
        return np.zeros(0, np.intp)
    track, detection = pairs["track"], pairs["detection"]
    of_track, of_detection = np.bincount(track, minlength=tracks), np.bincount(detection, minlength=detections)
    alone = (of_track[track] == 1) & (of_detection[detection] == 1)
    joined = [np.flatnonzero(alone)]
    rest = np.flatnonzero(~alone)
    if len(rest):
        part = _parts(track[rest], detection[rest], tracks, detections)
        order = np.argsort(part, kind="stable")
        for members in np.split(rest[order], np.flatnonzero(np.diff(part[order])) + 1):
            joined.append(members[_solve(pairs[members])])
    return np.concatenate(joined)


def _parts(track: np.ndarray, detection: np.ndarray, tracks: int, detections: int) -> np.ndarray:
    """Return for each pair the number of its connected part: labels sink to the least one reachable."""
    label = np.arange(tracks + detections)
    while True:
        least = np.minimum(label[track], label[tracks + detection])
        before = label.copy()
        np.minimum.at(label, track, least)
        np.minimum.at(label, tracks + detection, least)
        label = label[label]
        if np.array_equal(label, before):
            return label[track]


def _solve(pairs: np.ndarray) -> np.ndarray:
    rows, row = np.unique(pairs["track"], return_inverse=True)
    columns, column = np.unique(pairs["detection"], return_inverse=True)
    if len(rows) == 1 or len(columns) == 1:
        return np.array([int(np.argmax(pairs["gain"]))])
    cost = np.full((len(rows), len(columns)), np.inf)
    which = np.full((len(rows), len(columns)), -1)
    cost[row, column] = -pairs["gain"]
    which[row, column] = np.arange(len(pairs))
    given = assign(cost)
    used = np.flatnonzero(given >= 0)
    return which[used, given[used]]
