"""Absorption of sound in water."""

from __future__ import annotations

import math


def absorption_db_m(
    frequency_hz: float, *, temperature_c: float, salinity_psu: float, depth_m: float = 10.0, ph: float = 8.0
) -> float:
    """Return the absorption coefficient, dB a metre, by Francois & Garrison.

    Source: R. E. Francois, G. R. Garrison, "Sound absorption based on ocean measurements. Part II", J. Acoust. Soc. Am.
    72 (1982) 1879-1890. Made from measurements at 0.4 kHz to 1 MHz; above, where the absorption by pure water
    dominates, it is an extrapolation. Fresh water is salinity 0.

    Raises:
      ValueError: a value outside of what water and sonars have.
    """
    for name, value, low, high in (
        ("frequency_hz", frequency_hz, 1.0, 1e8),
        ("temperature_c", temperature_c, -5.0, 50.0),
        ("salinity_psu", salinity_psu, 0.0, 100.0),
        ("depth_m", depth_m, 0.0, 12_000.0),
        ("ph", ph, 5.0, 10.0),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name}: expected {low:g}..{high:g}, got {value:g}")
    f2 = (frequency_hz / 1000.0) ** 2
    t, s, d = temperature_c, salinity_psu, depth_m
    speed = 1412.0 + 3.21 * t + 1.19 * s + 0.0167 * d

    boric_khz = 2.8 * math.sqrt(s / 35.0) * 10.0 ** (4.0 - 1245.0 / (t + 273.0))
    boric = 8.86 / speed * 10.0 ** (0.78 * ph - 5.0) * boric_khz * f2 / (f2 + boric_khz**2)

    sulphate_khz = 8.17 * 10.0 ** (8.0 - 1990.0 / (t + 273.0)) / (1.0 + 0.0018 * (s - 35.0))
    sulphate_pressure = 1.0 - 1.37e-4 * d + 6.2e-9 * d**2
    sulphate = 21.44 * s / speed * (1.0 + 0.025 * t) * sulphate_pressure * sulphate_khz * f2 / (f2 + sulphate_khz**2)

    if t <= 20.0:
        water = 4.937e-4 - 2.59e-5 * t + 9.11e-7 * t**2 - 1.50e-8 * t**3
    else:
        water = 3.964e-4 - 1.146e-5 * t + 1.45e-7 * t**2 - 6.5e-10 * t**3
    water *= (1.0 - 3.83e-5 * d + 4.9e-10 * d**2) * f2
    return (boric + sulphate + water) / 1000.0
