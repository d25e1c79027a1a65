"""Speed of sound in water."""

from __future__ import annotations


def sound_speed_m_s(
    temperature_c: float, salinity_psu: float, depth_m: float = 0.0, latitude_deg: float = 45.0
) -> float:
    """Return the speed of sound, m/s, by Leroy et al.; good from fresh water to the deep sea (salinity 0..42).

    Source: C. C. Leroy, S. P. Robinson, M. J. Goldsmith, "A new equation for the accurate calculation of sound speed in
    all oceans", J. Acoust. Soc. Am. 124 (2008) 2774-2782.
    """
    t, s, z, phi = temperature_c, salinity_psu, depth_m, abs(latitude_deg)
    return (
        1402.5
        + 5.0 * t
        - 5.44e-2 * t**2
        + 2.1e-4 * t**3
        + 1.33 * s
        - 1.23e-2 * s * t
        + 8.7e-5 * s * t**2
        + 1.56e-2 * z
        + 2.55e-7 * z**2
        - 7.3e-12 * z**3
        + 1.2e-6 * z * (phi - 45.0)
        - 9.5e-13 * t * z**3
        + 3e-7 * t**2 * z
        + 1.43e-5 * s * z
    )


def sound_speed_mackenzie_m_s(temperature_c: float, salinity_psu: float, depth_m: float = 0.0) -> float:
    """Return the speed of sound, m/s, by Mackenzie; for the sea only (2..30 C, salinity 25..40, 0..8000 m).

    For comparison with instruments that use it. Source: K. V. Mackenzie, "Nine-term equation for sound speed in the
    oceans", J. Acoust. Soc. Am. 70 (1981) 807-812.
    """
    t, s, d = temperature_c, salinity_psu - 35.0, depth_m
    return (
        1448.96
        + 4.591 * t
        - 5.304e-2 * t**2
        + 2.374e-4 * t**3
        + 1.340 * s
        + 1.630e-2 * d
        + 1.675e-7 * d**2
        - 1.025e-2 * t * s
        - 7.139e-13 * t * d**3
    )
