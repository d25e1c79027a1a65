# cython: boundscheck=False, wraparound=False, cdivision=True
"""Track: the Kalman filters of all tracks.

States are (position, velocity) of `axes` = 2 or 3 dimensions in metres and metres a second: arrays of shape
(tracks, 2 axes), covariances (tracks, 2 axes, 2 axes), C order.
"""

from .matrix cimport invert
from .records cimport Pair, Track

cdef enum:
    BODY = 1
    TURN = 2


cdef void _check(bint right, str what) except *:
    if not right:
        raise ValueError(what)


def predict(double[:, ::1] state, double[:, :, ::1] covariance, double dt_s, double noise_m2_s3):
    """Move all tracks on by `dt_s` at constant velocity, in place.

    The acceleration is white noise of spectral density `noise_m2_s3` (Bar-Shalom, Li & Kirubarajan 2001, section 6.2).
    """
    cdef Py_ssize_t t, i, j, tracks = state.shape[0], size = state.shape[1], axes = size // 2
    _check(covariance.shape[0] == tracks and covariance.shape[1] == size and covariance.shape[2] == size, "covariance")
    cdef double pp = noise_m2_s3 * dt_s * dt_s * dt_s / 3, pv = noise_m2_s3 * dt_s * dt_s / 2, vv = noise_m2_s3 * dt_s
    with nogil:
        for t in range(tracks):
            for i in range(axes):
                state[t, i] += dt_s * state[t, i + axes]
            for i in range(axes):  # P F': columns of position gain dt times columns of velocity
                for j in range(size):
                    covariance[t, j, i] += dt_s * covariance[t, j, i + axes]
            for i in range(axes):  # F (P F'): the same for rows
                for j in range(size):
                    covariance[t, i, j] += dt_s * covariance[t, i + axes, j]
            for i in range(axes):
                covariance[t, i, i] += pp
                covariance[t, i, i + axes] += pv
                covariance[t, i + axes, i] += pv
                covariance[t, i + axes, i + axes] += vv


def correct(
    double[:, ::1] state,
    double[:, :, ::1] covariance,
    const Track[::1] rows,
    const Pair[::1] pairs,
    const double[:, ::1] place,
    const double[:, :, ::1] noise,
    double dt_s,
    double turn_speed_m_s,
):
    """Correct tracks by their detections, in place: the Kalman update in Joseph's form, which keeps symmetry.

    Args:
      rows: dtype TRACK; the time since a track was seen does not yet hold `dt_s`.
      pairs: dtype PAIR. An echo from a long body has its variance added to the noise; a turn is a change of velocity of
        standard deviation `turn_speed_m_s` at any time since the track was last seen, added to the prediction.

    Raises:
      ValueError: lengths do not fit, or a pair names a track or detection that is not there.
    """
    cdef Py_ssize_t p, t, d, i, j, k
    cdef int axes = <int>place.shape[1], size = 2 * axes
    _check(axes == 2 or axes == 3, "expected 2 or 3 axes")
    _check(state.shape[1] == size and covariance.shape[1] == size and covariance.shape[2] == size, "tracks")
    _check(covariance.shape[0] == state.shape[0] and rows.shape[0] == state.shape[0], "tracks")
    _check(noise.shape[0] == place.shape[0] and noise.shape[1] == axes and noise.shape[2] == axes, "noise")
    for p in range(pairs.shape[0]):
        _check(0 <= pairs[p].track < rows.shape[0], "pairs: index out of range")
        _check(0 <= pairs[p].detection < place.shape[0], "pairs: index out of range")
    cdef double spread[9]
    cdef double inverse[9]
    cdef double error[9]
    cdef double innovation[3]
    cdef double gain[18]
    cdef double left[36]
    cdef double v, tau, scatter, value
    with nogil:
        for p in range(pairs.shape[0]):
            t = pairs[p].track
            d = pairs[p].detection
            tau = rows[t].gap_s + dt_s
            v = turn_speed_m_s * turn_speed_m_s if pairs[p].explanation == TURN else 0
            scatter = rows[t].body_m2 if pairs[p].explanation == BODY else 0
            for i in range(axes):
                covariance[t, i, i] += v * tau * tau
                covariance[t, i, i + axes] += v * tau
                covariance[t, i + axes, i] += v * tau
                covariance[t, i + axes, i + axes] += v
                innovation[i] = place[d, i] - state[t, i]
                for j in range(axes):
                    error[i * axes + j] = noise[d, i, j] + (scatter if i == j else 0)
            for i in range(axes):
                for j in range(axes):
                    spread[i * axes + j] = covariance[t, i, j] + error[i * axes + j]
            if not invert(spread, axes, inverse) > 0:
                continue
            for i in range(size):
                for j in range(axes):
                    value = 0
                    for k in range(axes):
                        value += covariance[t, i, k] * inverse[k * axes + j]
                    gain[i * axes + j] = value
            for i in range(size):
                for j in range(axes):
                    state[t, i] += gain[i * axes + j] * innovation[j]
            # (1 - K H) P (1 - K H)' + K R K'
            for i in range(size):
                for j in range(size):
                    value = covariance[t, i, j]
                    for k in range(axes):
                        value -= gain[i * axes + k] * covariance[t, k, j]
                    left[i * size + j] = value
            for i in range(size):
                for j in range(i + 1):
                    value = left[i * size + j]
                    for k in range(axes):
                        value -= left[i * size + k] * gain[j * axes + k]
                    for k in range(axes):
                        v = 0
                        for d in range(axes):
                            v += error[k * axes + d] * gain[j * axes + d]
                        value += gain[i * axes + k] * v
                    covariance[t, i, j] = value
                    covariance[t, j, i] = value
