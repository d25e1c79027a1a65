"""Scan: looking for the few cells of a picture that are above a threshold, at the speed of memory."""

cdef extern from *:
    """
    /* gcc on x86-64 with glibc chooses the widest instructions at run time; everybody else compiles the plain loop. */
    #if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 12
    #define NIMS_SCAN_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
    #else
    #define NIMS_SCAN_CLONES
    #endif

    /* The first cell from `start` on that is above the threshold, `count` where there is none; NaN is below. Stretches
       of 64 cells of noise are passed over at once, then of 16. */
    NIMS_SCAN_CLONES static long nims_next_above(const float *restrict row, long start, long count, float threshold)
    {
        long i = start;
        for (; i < count && i % 16; i++)
            if (row[i] > threshold)
                return i;
        while (i < count) {
            if (i + 64 <= count) {
                int any = 0;
                for (long j = 0; j < 64; j++)
                    any |= row[i + j] > threshold;
                if (!any) {
                    i += 64;
                    continue;
                }
            }
            for (const long stop = i + 64 < count ? i + 64 : count; i < stop;) {
                if (i + 16 <= stop) {
                    int any = 0;
                    for (long j = 0; j < 16; j++)
                        any |= row[i + j] > threshold;
                    if (!any) {
                        i += 16;
                        continue;
                    }
                }
                for (const long end = i + 16 < stop ? i + 16 : stop; i < end; i++)
                    if (row[i] > threshold)
                        return i;
            }
        }
        return count;
    }
    """
    long next_above "nims_next_above"(const float *row, long start, long count, float threshold) noexcept nogil
