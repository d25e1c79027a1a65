"""Absorption and sound speed against published values and values computed by others."""

from __future__ import annotations

import pytest

from nims_appliance.acoustics.absorption import absorption_db_m
from nims_appliance.acoustics.sound_speed import sound_speed_m_s, sound_speed_mackenzie_m_s


@pytest.mark.parametrize(
    ("frequency_khz", "expected_db_km"),
    [
        (38, 10.15),
        (70, 23.63),
        (120, 38.77),
        (200, 54.38),
        (333, 80.07),
        (500, 124.6),
        (750, 222.3),
        (900, 299.3),
        (1200, 495.0),
        (1800, 1054.0),
    ],
)
def test_absorption_of_sea_water(frequency_khz: float, expected_db_km: float) -> None:
    """10 degrees, 35 psu, 10 m, pH 8; the expected values have four digits."""
    absorption = absorption_db_m(frequency_khz * 1e3, temperature_c=10.0, salinity_psu=35.0, depth_m=10.0, ph=8.0)
    assert 1000 * absorption == pytest.approx(expected_db_km, rel=5e-4)


@pytest.mark.parametrize(("frequency_khz", "expected_db_km"), [(120, 4.47), (500, 77.7), (900, 251.7), (1200, 447.0)])
def test_absorption_of_fresh_water(frequency_khz: float, expected_db_km: float) -> None:
    absorption = absorption_db_m(frequency_khz * 1e3, temperature_c=10.0, salinity_psu=0.0)
    assert 1000 * absorption == pytest.approx(expected_db_km, rel=1e-3)


def test_absorption_of_pure_water_joins_at_20_degrees() -> None:
    below, above = (
        absorption_db_m(1e6, temperature_c=temperature_c, salinity_psu=0.0) for temperature_c in (20.0, 20.0001)
    )
    assert below == pytest.approx(above, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "value"), [("frequency_hz", 0.0), ("salinity_psu", -1.0), ("temperature_c", float("nan")), ("ph", 0.0)]
)
def test_absorption_refuses_impossible_water(name: str, value: float) -> None:
    values = {"frequency_hz": 120e3, "temperature_c": 10.0, "salinity_psu": 35.0, name: value}
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        absorption_db_m(**values)


def test_sound_speed() -> None:
    assert sound_speed_mackenzie_m_s(25.0, 35.0, 1000.0) == pytest.approx(1550.744, abs=1e-3)  # published check value
    assert sound_speed_mackenzie_m_s(10.0, 35.0, 10.0) == pytest.approx(1489.966, abs=1e-3)
    assert sound_speed_m_s(10.0, 35.0, 10.0, 45.0) == pytest.approx(1489.981, abs=1e-3)
    assert sound_speed_m_s(10.0, 0.0, 10.0, 45.0) == pytest.approx(1447.43, abs=5e-3)


def test_sound_speed_is_the_same_on_both_hemispheres() -> None:
    assert sound_speed_m_s(4.0, 35.0, 3000.0, -60.0) == sound_speed_m_s(4.0, 35.0, 3000.0, 60.0)
    assert sound_speed_m_s(4.0, 35.0, 3000.0, 60.0) > sound_speed_m_s(4.0, 35.0, 3000.0, 10.0)
