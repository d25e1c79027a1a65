"""Matrices of 2 or 3 rows, C order: what the tracker's arithmetic needs of them."""


cdef inline double invert(const double *s, int axes, double *inverse) noexcept nogil:
    """Fill the inverse of a symmetric matrix; return its determinant."""
    cdef double d, a, b, c
    if axes == 2:
        d = s[0] * s[3] - s[1] * s[2]
        inverse[0] = s[3] / d
        inverse[1] = -s[1] / d
        inverse[2] = -s[2] / d
        inverse[3] = s[0] / d
        return d
    a = s[4] * s[8] - s[5] * s[7]
    b = s[5] * s[6] - s[3] * s[8]
    c = s[3] * s[7] - s[4] * s[6]
    d = s[0] * a + s[1] * b + s[2] * c
    inverse[0] = a / d
    inverse[1] = (s[2] * s[7] - s[1] * s[8]) / d
    inverse[2] = (s[1] * s[5] - s[2] * s[4]) / d
    inverse[3] = b / d
    inverse[4] = (s[0] * s[8] - s[2] * s[6]) / d
    inverse[5] = (s[2] * s[3] - s[0] * s[5]) / d
    inverse[6] = c / d
    inverse[7] = (s[1] * s[6] - s[0] * s[7]) / d
    inverse[8] = (s[0] * s[4] - s[1] * s[3]) / d
    return d


cdef inline double quadratic(const double *v, const double *matrix, int axes) noexcept nogil:
    """Return v' M v."""
    cdef double sum_ = 0
    cdef int i, j
    for i in range(axes):
        for j in range(axes):
            sum_ += v[i] * matrix[i * axes + j] * v[j]
    return sum_
