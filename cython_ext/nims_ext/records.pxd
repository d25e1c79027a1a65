"""Records that kernels share with each other and with Python: C's view of the structured arrays.

An array whose dtype has not exactly these fields is refused with ValueError where a kernel takes it.
"""

cdef struct Track:  # dtype nims_ext.table.TRACK
    long long id
    double first_s
    double last_hit_s
    double age_s
    double gap_s
    double unseen_s
    double background
    double dimmed
    double score
    double best
    double visible
    double body_m2
    double body_chance
    double company
    double sure_s
    double area_m2
    double power
    double length_m
    double width_m
    double range_sd_m
    double bearing_sd_rad
    double min_range_m
    double max_range_m
    double min_bearing_rad
    double max_bearing_rad
    double min_elevation_rad
    double max_elevation_rad
    double log_seen
    double log_missed
    double leap_chance
    double turn_m2
    double turn_chance
    int hits
    int pings
    unsigned char lost
    unsigned char merged
    unsigned char calibrated
    unsigned char joined


cdef struct Peak:  # dtype nims_ext.detect.PEAK
    double row
    double column
    double value
    int peak_row
    int peak_column


cdef struct Pair:  # dtype nims_ext.pairs.PAIR
    int track
    int detection
    int explanation
    int padding
    double apart_m2
    double place
    double gain


cdef struct Detection:  # dtype nims_appliance.pipeline.results.DETECTION
    double range_m
    double bearing_rad
    double elevation_rad
    double range_sd_m
    double bearing_sd_rad
    double elevation_sd_rad
    double length_m
    double width_m
    double area_m2
    double peak
    double mean
    double total
    double snr_db
    double ts_db
    double exceedance
    int cells
    int candidate
