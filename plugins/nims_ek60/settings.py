"""Settings of an EK60 whose telegrams leave out what its files tell."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from nims_appliance.settings import Settings

from .echo import Transducer


class Ek60Settings(Settings, frozen=True):
    """What EK500 telegrams do not carry: numbers of the sounder's own menus. Files bring their own and ignore these."""

    sample_interval_m: Annotated[
        float, Meta(gt=0, le=10, description="Length of one sample in range, metres; a parameter telegram overrides it")
    ] = 0.0238
    pulse_length_s: Annotated[
        float, Meta(gt=0, le=0.1, description="Pulse length, seconds; a parameter telegram overrides it")
    ] = 128e-6
    sound_speed_m_s: Annotated[
        float, Meta(ge=1300, le=1700, description="Sound speed, metres a second; a parameter telegram overrides it")
    ] = 1490.0
    frequency_hz: Annotated[
        float, Meta(ge=1e3, le=1e6, description="Frequency, hertz; a parameter telegram overrides it")
    ] = 120_000.0
    angle_sensitivity_along: Annotated[
        float, Meta(gt=0.1, le=200, description="Electrical over mechanical degrees, alongship")
    ] = 21.0
    angle_sensitivity_athwart: Annotated[
        float, Meta(gt=0.1, le=200, description="Electrical over mechanical degrees, athwartship")
    ] = 21.0
    angle_offset_along_deg: Annotated[float, Meta(ge=-90, le=90, description="Subtracted from the alongship angle")] = (
        0.0
    )
    angle_offset_athwart_deg: Annotated[
        float, Meta(ge=-90, le=90, description="Subtracted from the athwartship angle")
    ] = 0.0
    beamwidth_along_deg: Annotated[float, Meta(gt=0, lt=180, description="-3 dB beam width alongship, degrees")] = 7.0
    beamwidth_athwart_deg: Annotated[float, Meta(gt=0, lt=180, description="-3 dB beam width athwartship, degrees")] = (
        7.0
    )
    gain_db: Annotated[float, Meta(description="Transducer gain at the pulse length in use, dB")] = 27.0
    sa_correction_db: Annotated[float, Meta(description="Sa correction at the pulse length in use, dB")] = 0.0
    equivalent_beam_angle_db: Annotated[float, Meta(description="Equivalent two-way beam angle, dB re 1 sr")] = -21.0
    transmit_power_w: Annotated[float, Meta(ge=0, description="Transmit power, watts; 0: not known, no Sv and TS")] = (
        0.0
    )
    absorption_db_km: Annotated[float, Meta(ge=0, description="Absorption, dB per kilometre")] = 38.0
    zone_offset_hours: Annotated[
        float, Meta(ge=-14, le=14, description="Local time of the sounder's clock minus UTC, hours")
    ] = 0.0
    sender: Annotated[
        str, Meta(description="Address of the sounder; datagrams of other addresses are ignored; empty: any")
    ] = ""


def transducer_of(settings: Ek60Settings) -> Transducer:
    """Return the transducer that the settings describe."""
    return Transducer(
        gain_db=settings.gain_db,
        sa_correction_db=settings.sa_correction_db,
        equivalent_beam_angle_db=settings.equivalent_beam_angle_db,
        beamwidth_along_deg=settings.beamwidth_along_deg,
        beamwidth_athwart_deg=settings.beamwidth_athwart_deg,
        angle_sensitivity_along=settings.angle_sensitivity_along,
        angle_sensitivity_athwart=settings.angle_sensitivity_athwart,
        angle_offset_along_deg=settings.angle_offset_along_deg,
        angle_offset_athwart_deg=settings.angle_offset_athwart_deg,
    )
