"""Tracker: joins detections over pings to tracks of animals.

Each track is a Kalman filter in metres at constant velocity with a score: the log of how much likelier its detections
and misses are for an animal than for noise. Detections below the threshold of a single ping count too, by their height.
A track is confirmed when noise would bring one as far only `false_tracks_per_hour` times (Wald's sequential test), and
ends when it has not been seen for `max_gap_s` or its score says that it follows noise.

Animals swim steadily for seconds and then turn at once. The filter's noise is for steady swimming; a turn is a
hypothesis of its own for each detection (see `nims_ext.pairs.find_pairs`), and where several pings are lost by it, the
new track that appears within reach of a lost one continues it (`_continued`).

S. Blackman, R. Popoli, "Design and analysis of modern tracking systems", Artech House 1999, chapters 6 and 7;
Y. Bar-Shalom, X. Li, T. Kirubarajan, "Estimation with applications to tracking and navigation", Wiley 2001.
"""

from __future__ import annotations

import itertools
import math
import secrets
import time

import numpy as np
from nims_ext.assign import join
from nims_ext.measure import dim
from nims_ext.pairs import find_pairs
from nims_ext.score import end, expect, judge
from nims_ext.table import tell
from nims_ext.track import correct, predict

from ..frame import Frame
from ..settings import SonarSettings
from . import strength
from .bodies import Bodies
from .describe import History, state_of, summary_of
from .measurement import Echoes
from .results import TrackState, TrackSummary
from .stages import Tracker
from .track_table import TrackTable

GATE = 16.0
"""Squared Mahalanobis distance beyond which a detection cannot belong to a track (99.97 % in two dimensions)."""
PLACED = 0.97
"""Probability that the echo of a visible animal lies in the gate and is not hidden by another."""
SEEN_AT_ALL = 0.7
"""Probability that a visible animal is detected, where the detector does not tell how high its threshold is."""
TURNS_PER_S = 0.2
"""How often an animal changes its velocity at once."""
HIDDEN_AFTER_S, VISIBLE_AFTER_S = 3.0, 0.5
"""Mean times after which a visible animal is shadowed or fades, and after which it is back."""
NEVER_SEEN_S = 0.5
"""A track that is not confirmed ends after so long without a detection."""
SINGLE_PINGS = 2.5
"""A detection that nothing has followed within so many pings was noise; by then it could be anywhere."""
MOST_STARTS = 300
"""New tracks in a ping; of more detections the strongest start one, so that a flood costs no more time."""
LOSS_BEFORE_CONFIRMED = 6.0
"""A track that is not confirmed ends when its score has fallen so far below its best."""
LOSS_WHEN_CONFIRMED = 15.0
"""A confirmed track is lost when its score has fallen so far: it is not shown, and ends if nothing continues it."""
SLOWEST_M_S = 0.3
"""Even an animal at rest moves so fast when it is disturbed, and a velocity is no better known."""
DOUBT = 4.0
"""A confirmed track whose score has fallen by more may have been following noise since."""
OVERLAP = 0.6
"""A new track may continue one that was seen in no more than this first part of its life."""
MISLED_PINGS, MISLED_M = 3.0, 0.4
"""For so many pings the last echoes before a turn, and noise taken for the first after it, may mislead both tracks: by
what an animal swims meanwhile, and no more than this (standard deviation)."""
MARGIN = 5.0
"""The score of a confirmed track does not grow more than this above the threshold, so that it can end in time."""
MIN_HITS = 3
"""One place is no position, and two are no motion."""
DESCRIBED_S = 1.0
"""A living track is described no more often."""
COMING_PER_HOUR = 300.0
"""So many animals come into view, or are found again, as far as one expects before having seen any."""
DENSITY_MEMORY = 0.05
CLOCK_JITTER_S = 0.5


def _first_id() -> int:
    # Milliseconds since 1970 in the upper bits: a later start begins above every number that an earlier one can have
    # reached, and the number stays below 2^53, so that JSON readers that know only doubles keep it exact.
    return (time.time_ns() // 1_000_000 << 11) + secrets.randbelow(1 << 11)


_IDS = itertools.count(_first_id())
"""Numbers of tracks, shared by all sonars of the process; never reused."""


class ScoreTracker:
    """Tracks in two dimensions (imaging sonars) or three (split beams), as the frames are."""

    def __init__(self, settings: SonarSettings) -> None:
        self._sonar = settings
        self._settings = settings.tracker
        self._axes = 2
        self._table = TrackTable(2)
        self._turn_speed_m_s = settings.tracker.max_speed_m_s / 3
        self._bodies = Bodies(settings.tracker.max_body_m)
        self._histories: dict[int, History] = {}
        self._united: list[TrackSummary] = []
        """Tracks that were found to be of another's animal after the last ping."""
        self._unsettled: tuple[Echoes, np.ndarray, float] | None = None
        """Echoes of the last ping, which of them are free, and the time since the ping before."""
        self._time_s = math.nan
        self._rests = True
        self._interval_s = math.nan
        self._count = math.nan
        self._lowest = math.nan

    def update(self, frame: Frame, detections: np.ndarray) -> tuple[list[TrackState], list[TrackSummary]]:
        """Return the tracks confirmed at this ping, and those that have ended with it."""
        self.settle()
        axes = 3 if frame.is_split_beam else 2
        elapsed_s = frame.time_s - self._time_s
        ended: list[TrackSummary] = []
        if axes != self._axes or elapsed_s < -CLOCK_JITTER_S:
            ended = self.finish()
            self._axes, self._table = axes, TrackTable(axes)
            elapsed_s = math.nan
        dt_s = max(elapsed_s, 0.0) if math.isfinite(elapsed_s) else 0.0
        self._time_s = (
            frame.time_s if dt_s > 0.0 or not math.isfinite(self._time_s) else max(frame.time_s, self._time_s)
        )
        if dt_s > 0:
            self._interval_s = (
                dt_s if math.isnan(self._interval_s) else self._interval_s + 0.1 * (dt_s - self._interval_s)
            )

        detections = detections[np.argsort(detections["range_m"], kind="stable")]
        cells, log_clutter = self._clutter(frame, detections)
        echoes = Echoes.of(detections, log_clutter, axes)
        table = self._table
        predict(table.state, table.covariance, dt_s, self._settings.process_noise_m2_s3)
        echoes = self._bodies.gather(table, echoes, dt_s)
        chances = math.log(cells * 3600 / self._usual_interval(frame))  # for noise to begin a track, in an hour
        free = self._join(frame, echoes, dt_s, chances - math.log(COMING_PER_HOUR))
        self._judge(frame, chances - math.log(self._settings.false_tracks_per_hour))
        ended += self._bury(frame)
        ended += self._united
        self._united = []
        self._unsettled = echoes, free, dt_s
        return self._told(frame), ended

    def settle(self) -> None:
        """Learn the bodies of what was seen, unite what is of one animal, begin tracks at the echoes of nobody."""
        if self._unsettled is None:
            return
        (echoes, free, dt_s), self._unsettled = self._unsettled, None
        self._bodies.learn(self._table, dt_s)
        self._united += self._unite()
        self._start(echoes, free)

    def describe_next(self) -> TrackSummary | None:
        """Return the living track that was described longest ago, as far as it is known; see `Tracker`."""
        self._rests = not self._rests
        if self._rests:
            return None
        due = [history for history in self._histories.values() if history.described_s <= self._time_s - DESCRIBED_S]
        if not due:
            return None
        history = min(due, key=lambda history: history.described_s)
        history.described_s = self._time_s
        return summary_of(history.so_far())

    def name(self, track: TrackSummary) -> None:
        """Let a living track be called as its description is."""
        history = self._histories.get(track.id)
        if history is not None:
            history.label, history.probability = track.label, track.probability

    def finish(self) -> list[TrackSummary]:
        """End all tracks and return the confirmed ones."""
        ended = self._united + [summary_of(history) for history in self._histories.values()]
        self._united, self._unsettled = [], None
        self._histories = {}
        self._table = TrackTable(self._axes)
        self._time_s = math.nan
        return ended

    def _usual_interval(self, frame: Frame) -> float:
        if self._interval_s > 0:
            return self._interval_s
        return frame.ping_interval_s if frame.ping_interval_s > 0 else 0.1

    def _clutter(self, frame: Frame, detections: np.ndarray) -> tuple[float, np.ndarray]:
        """Return how many independent cells a ping has, and the log density of noise in them at each detection.

        The density is per volume and before the height is considered: detections above a threshold u are as many
        as cells times e^-u.
        """
        count = len(detections)
        known = detections["exceedance"][detections["exceedance"] > 0]
        if len(known):
            low = float(known.min())
            steady = self._lowest + DENSITY_MEMORY * (low - self._lowest)
            self._lowest = low if math.isnan(self._lowest) or len(known) > 20 else min(steady, low)
        self._count = count if math.isnan(self._count) else self._count + DENSITY_MEMORY * (count - self._count)
        # a sudden flood counts at once, so that it cannot confirm tracks before the mean has followed
        cells = max(self._count, 0.5 * count, 1.0) * math.exp(min(self._lowest if self._lowest > 0 else 0.0, 20.0))
        cells = min(cells, max(frame.intensity.size, count))
        span_m = max(float(frame.range_m[-1] - frame.range_m[0]), 1e-3)
        width_rad = max(float(frame.bearing_rad[-1] - frame.bearing_rad[0]), frame.beam_width_rad, 1e-3)
        arc_m = width_rad * np.maximum(detections["range_m"], 0.02 * span_m)
        area = span_m * arc_m if self._axes == 2 else span_m * arc_m * arc_m
        return cells, math.log(cells) - np.log(area)

    def _dim(self, frame: Frame) -> np.ndarray:
        """Find the confirmed tracks that are where the picture outshines them: over structure, in a cloud.

        Returns: the rows of these.
        """
        table = self._table
        confirmed = table.confirmed()
        if not len(confirmed):
            return confirmed
        return dim(table.rows, table.state, confirmed, frame.intensity, frame.range_m, frame.bearing_rad)

    def _expect(self, frame: Frame, dt_s: float) -> np.ndarray:
        """Let each track expect the ping; return its probability to be missed, shape (tracks, strengths)."""
        table = self._table
        chance = np.empty(table.strengths.shape)
        if self._lowest > 0:
            dimmed = self._dim(frame)
            chance[:] = strength.seen(self._lowest)
            chance[dimmed] = strength.seen(self._lowest * table["dimmed"][dimmed])
            placed = PLACED
        else:
            chance[:] = 1.0
            placed = SEEN_AT_ALL
        expect(
            table.rows,
            table.strengths,
            table.extent,
            chance,
            dt_s=dt_s,
            placed=placed,
            turn_speed_m_s=self._turn_speed_m_s,
            turns_per_s=TURNS_PER_S,
        )
        return chance

    def _join(self, frame: Frame, echoes: Echoes, dt_s: float, even: float) -> np.ndarray:
        """Give the echoes to the tracks; return which are left, shape (echoes,), bool.

        Args:
          even: score at which a track is as likely an animal that has come as noise.
        """
        table = self._table
        missed = self._expect(frame, dt_s)
        pairs = find_pairs(
            table.rows,
            table.state,
            table.covariance,
            table.strengths,
            echoes.place,
            echoes.noise,
            np.ascontiguousarray(echoes.detections["range_m"]),
            echoes.odds,
            echoes.log_clutter,
            GATE,
        )
        # To a track that may be noise an echo is worth what it adds if there is an animal: a track of one echo, whose
        # velocity nobody knows, would take those of every animal that turns nearby.
        doubted = table["id"][pairs["track"]] == 0
        before = table["score"][pairs["track"][doubted]] - even
        pairs["gain"][doubted] = np.logaddexp(0, before + pairs["gain"][doubted]) - np.logaddexp(0, before)
        pairs = pairs[join(pairs, len(table), len(echoes))]
        correct(
            table.state, table.covariance, table.rows, pairs, echoes.place, echoes.noise, dt_s, self._turn_speed_m_s
        )
        tell(
            table.rows,
            table.strengths,
            missed,
            pairs,
            echoes.detections,
            echoes.odds,
            axes=self._axes,
            dt_s=dt_s,
            time_s=self._time_s,
            hidden_after_s=HIDDEN_AFTER_S,
            visible_after_s=VISIBLE_AFTER_S,
        )
        free = np.ones(len(echoes), bool)
        free[pairs["detection"]] = False
        return free

    def _judge(self, frame: Frame, threshold: float) -> None:
        """Confirm the tracks whose score is high enough; continue lost ones with them where they fit."""
        table = self._table
        sure = judge(
            table.rows,
            table.state,
            table.last,
            time_s=self._time_s,
            threshold=threshold,
            most=threshold + MARGIN,
            loss=LOSS_WHEN_CONFIRMED,
            doubt=DOUBT,
            least_hits=MIN_HITS,
        )
        for i in sure.tolist():
            before = self._continued(i, frame)
            if before >= 0:
                table.take_over(i, before)
            elif self._bodies.confirm(table, i):
                table["id"][i] = next(_IDS)
                self._bodies.confirmed(table, i, self._time_s)
                self._histories[int(table["id"][i])] = History(self._axes, self._sonar)

    def _continued(self, new: int, frame: Frame) -> int:
        """Return the lost track that the newly confirmed one continues, or -1.

        A lost animal is either where it swam to (a shadow, a fade) or anywhere within its reach (a turn).
        """
        table, axes = self._table, self._axes
        born_s = self._time_s - table["age_s"][new]
        # at a turn the old track may take an echo or two after the new one has begun
        latest_s = born_s + OVERLAP * table["age_s"][new]
        old = np.flatnonzero((table["id"] > 0) & (table["sure_s"] <= latest_s) & ~table["merged"])
        if not len(old):
            return -1
        away_s = born_s - table["sure_s"][old]
        first, last = table.first[new], table.last[old]
        across_m2 = np.trace(table.first_noise[new])
        # an animal that turns keeps about its speed
        most_m_s = self._settings.max_speed_m_s
        speed = np.minimum(np.sqrt((last[:, axes:] ** 2).sum(1)) + SLOWEST_M_S, most_m_s)
        # after a turn the first echo of the new track may have been noise beside the animal; where it is now is surer
        since_s = self._time_s - table["sure_s"][old]
        swum_m = speed * since_s / 3 + min(most_m_s / 3 * MISLED_PINGS * self._usual_interval(frame), MISLED_M)
        noise = table.covariance[new, :axes, :axes] + table.first_noise[new]
        spread = swum_m[:, None, None] ** 2 * np.eye(axes) + noise
        apart = table.state[new, :axes] - last[:, :axes]
        turned = (apart * np.linalg.solve(spread, apart[:, :, None])[:, :, 0]).sum(1)
        ahead = last[:, :axes] + last[:, axes:] * away_s[:, None]
        straight = ((first - ahead) ** 2).sum(1) / ((0.3 * away_s) ** 2 + across_m2)
        distance = np.minimum(turned, straight)
        best = int(np.argmin(distance))
        return int(old[best]) if distance[best] < 9.0 else -1

    def _unite(self) -> list[TrackSummary]:
        """Let long animals take over the tracks on their bodies; return those that had been told as others before."""
        ended = []
        for number, came in self._bodies.unite(self._table, self._time_s):
            history = self._histories.pop(number)
            if came:
                ended.append(summary_of(history))
        self._table.keep(~self._table["merged"])
        return ended

    def _bury(self, frame: Frame) -> list[TrackSummary]:
        """Remove the tracks that have ended; return the confirmed ones among them."""
        table = self._table
        margin_m, margin_rad = 2 * frame.range_resolution_m, frame.beam_width_rad
        dead = end(
            table.rows,
            table.state,
            time_s=self._time_s,
            max_gap_s=self._settings.max_gap_s,
            never_seen_s=max(NEVER_SEEN_S, SINGLE_PINGS * self._usual_interval(frame)),
            single_s=SINGLE_PINGS * self._usual_interval(frame),
            loss=LOSS_BEFORE_CONFIRMED,
            max_speed_m_s=1.5 * self._settings.max_speed_m_s,
            nearest_m=frame.range_m[0] - margin_m,
            farthest_m=frame.range_m[-1] + margin_m,
            leftmost_rad=frame.bearing_rad[0] - margin_rad,
            rightmost_rad=frame.bearing_rad[-1] + margin_rad,
        )
        dead |= (table["id"] == 0) & self._bodies.covers(table, table.state[:, : self._axes])
        confirmed = table.confirmed()
        gone = table["id"][confirmed[dead[confirmed] & ~table["merged"][confirmed]]]
        histories = [self._histories.pop(number) for number in gone.tolist()]
        table.keep(~dead)
        # One that was confirmed at this very ping has been told to nobody and remembers nothing.
        return [summary_of(history) for history in histories if history.row is not None]

    def _start(self, echoes: Echoes, free: np.ndarray) -> None:
        """Start a track at each echo that is nobody's and is likelier an animal than noise."""
        score = np.log(echoes.odds @ strength.SHARES)
        free &= (score >= -1e-9) & ~self._bodies.covers(self._table, echoes.place)
        if np.count_nonzero(free) > MOST_STARTS:
            free &= score >= np.partition(score[free], -MOST_STARTS)[-MOST_STARTS]
        self._table.append(echoes, np.flatnonzero(free), score, self._settings.max_speed_m_s, self._time_s)

    def _told(self, frame: Frame) -> list[TrackState]:
        """Remember the confirmed tracks as they are now; return those that are to be seen."""
        table = self._table
        states = []
        for i in table.confirmed().tolist():
            row = table.row(i)
            history = self._histories[row.id]
            history.add(table, i, row, self._time_s)
            if not row.lost:
                states.append(state_of(table, i, row, frame, history))
        return states


def make_tracker(settings: SonarSettings) -> Tracker:
    """Return the tracker that the settings describe."""
    return ScoreTracker(settings)
