"""netCDF exports, read with h5py as anybody else would: the convention's tables, and values that others computed."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from nims_appliance.acoustics.calibration import sv_db
from nims_appliance.archive.poses import PoseRow, insert_poses
from nims_appliance.archive.schema import FILE_NAME, connect
from nims_appliance.cli import nims
from nims_appliance.config.store import one_sonar
from nims_appliance.errors import NimsError
from nims_appliance.export.pings import Pings
from nims_appliance.plugin_host.host import PluginHost

MANDATORY = [
    "beam",
    "ping_time",
    "backscatter_r",
    "beam_stabilisation",
    "beam_type",
    "beamwidth_receive_major",
    "beamwidth_receive_minor",
    "blanking_interval",
    "equivalent_beam_angle",
    "non_quantitative_processing",
    "platform_heading",
    "platform_latitude",
    "platform_longitude",
    "platform_pitch",
    "platform_roll",
    "platform_vertical_offset",
    "rx_beam_rotation_phi",
    "rx_beam_rotation_theta",
    "rx_beam_rotation_psi",
    "tx_beam_rotation_phi",
    "tx_beam_rotation_theta",
    "tx_beam_rotation_psi",
    "sample_interval",
    "sample_time_offset",
    "transmit_duration_nominal",
    "transmit_frequency_start",
    "transmit_frequency_stop",
    "transmit_type",
]
"""Variables of a beam group in the convention's table."""
DY1801 = "ek60/DY1801_EK60-D20180211-T164025"


def export(*arguments: object):
    return CliRunner().invoke(nims, ["export", *(str(argument) for argument in arguments)], catch_exceptions=False)


def read(path: Path, profile: str, **more):
    plugins = PluginHost.load(None)
    found = plugins.profile(profile)
    return list(Pings(found, plugins.driver(found), one_sonar(plugins, profile, {}), **more).read([path]))


@pytest.fixture(scope="module")
def dy1801(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dy1801")
    for kind in ("sonar-netcdf", "sv"):
        result = export(
            kind,
            recordings / f"{DY1801}.raw",
            "--profile",
            "simrad-ek60",
            "--data",
            folder,
            "-o",
            folder / f"{kind}.nc",
        )
        assert result.exit_code == 0, result.output
        assert "210 pings of 1 files" in result.stderr
    return folder


@pytest.fixture(scope="module")
def m3(recordings, tmp_path_factory):
    """The same ping three times, as a recording of three pings."""
    folder = tmp_path_factory.mktemp("m3")
    packet = (recordings / "m3/m3-header14-128x1272-one-ping.imb").read_bytes()
    (folder / "three.imb").write_bytes(packet * 3)
    result = export(
        "sonar-netcdf", folder / "three.imb", "--profile", "kongsberg-m3", "--data", folder, "-o", folder / "out.nc"
    )
    assert result.exit_code == 0, result.output
    return folder


def test_sv_is_what_others_computed_with_matlab(dy1801, recordings):
    with h5py.File(dy1801 / "sv.nc") as ours, h5py.File(recordings / f"{DY1801}.matlab_Sv_TS.nc") as theirs:
        assert ours["Sv"].shape == (5, 42, 1386)
        assert ours["frequency_nominal"][:].tolist() == [18e3, 38e3, 70e3, 120e3, 200e3]
        far = 12  # the reference holds the range at 1 m where it is less
        for channel in range(5):
            mine, values = ours["Sv"][channel][:, far:], theirs["Sv"][channel][:, far:]
            known = np.isfinite(mine) & np.isfinite(values)
            assert known.all()
            assert np.abs(mine - values)[known].max() < 1e-4


def test_sv_has_the_times_ranges_and_angles_of_the_pings(dy1801, recordings):
    frames = read(recordings / f"{DY1801}.raw", "simrad-ek60")
    with h5py.File(dy1801 / "sv.nc") as file:
        np.testing.assert_allclose(file["ping_time"][:] / 1e9, sorted({frame.time_s for frame in frames}), atol=1e-6)
        first = frames[0]
        np.testing.assert_array_equal(file["echo_range"][0, 0, : len(first.range_m)], first.range_m)
        np.testing.assert_array_equal(
            file["angle_alongship"][0, 0, : len(first.range_m)], np.degrees(first.along_rad).astype(np.float32)
        )
        assert np.nanmedian(file["latitude"][:]) == pytest.approx(54.58, abs=0.01)
        assert [scale.name for scale in file["Sv"].dims[1].values()] == ["/ping_time"]


@pytest.mark.parametrize("which", ["dy1801", "m3"])
def test_groups_and_variables_of_the_convention_are_there(which, request):
    folder = request.getfixturevalue(which)
    with h5py.File(folder / ("sonar-netcdf.nc" if which == "dy1801" else "out.nc")) as file:
        assert file.attrs["Conventions"] == "CF-1.7, SONAR-netCDF4-2.0, ACDD-1.3"
        assert {
            "date_created",
            "keywords",
            "sonar_convention_authority",
            "sonar_convention_name",
            "sonar_convention_version",
            "summary",
            "title",
        } <= set(file.attrs)
        assert {"Annotation", "Environment", "Platform", "Provenance", "Sonar", "Vendor_specific"} <= set(file)
        assert {"frequency", "absorption_indicative", "sound_speed_indicative"} <= set(file["Environment"])
        assert "transducer_function" in file["Platform"]
        assert file["Sonar/beam_t"].dtype.metadata["enum"]["split_aperture_angles"] == 1
        groups = [name for name in file["Sonar"] if name.startswith("Beam_group")]
        assert len(groups) == (5 if which == "dy1801" else 1)
        for name in groups:
            group = file["Sonar"][name]
            assert set(MANDATORY) <= set(group), set(MANDATORY) - set(group)
            assert {"beam_mode", "conversion_equation_type"} <= set(group.attrs)
            assert group["ping_time"].dtype == np.uint64
            pings, beams = group["backscatter_r"].shape
            for variable in MANDATORY:
                if "ping_time" in variable or variable in ("beam", "beam_type"):
                    continue
                assert group[variable].shape in ((pings,), (pings, beams), (pings, 1)), variable


def test_sv_follows_from_the_sonar_netcdf_file_by_equation_1(dy1801, recordings):
    frames = [frame for frame in read(recordings / f"{DY1801}.raw", "simrad-ek60") if frame.frequency_hz == 38e3]
    with h5py.File(dy1801 / "sonar-netcdf.nc") as file:
        group = file["Sonar/Beam_group2"]
        absorption = file["Environment/absorption_indicative"][1]
        value = {
            name: float(np.ravel(item[3])[0])
            for name, item in group.items()
            if isinstance(item, h5py.Dataset) and item.shape[:1] == (42,) and item.dtype.kind == "f"
        }
        assert group.attrs["conversion_equation_type"] == 1
        power = group["backscatter_r"][3, 0]
    c, f = value["sound_speed_at_transducer"], value["transmit_frequency_start"]
    time_s = value["blanking_interval"] + np.arange(len(power)) * value["sample_interval"]
    range_m = c * (time_s - value["sample_time_offset"]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        sv = (
            10 * np.log10(power)
            + 20 * np.log10(range_m)
            + 2 * absorption * range_m
            - 10
            * np.log10(
                value["transmit_power"]
                * (c / f) ** 2
                * c
                * value["receive_duration_effective"]
                * value["equivalent_beam_angle"]
                / (32 * np.pi**2)
            )
            - 2 * value["transducer_gain"]
        )
    expected = sv_db(frames[3])
    np.testing.assert_allclose(sv[10:], expected[10:], atol=2e-3)


def test_an_imaging_sonars_complex_samples_and_axes_are_kept(m3, recordings):
    (frame, *_) = read(m3 / "three.imb", "kongsberg-m3", want_samples=True)
    with h5py.File(m3 / "out.nc") as file:
        group = file["Sonar/Beam_group1"]
        assert group["backscatter_r"].shape == (3, 128)
        real, imaginary = (np.stack(group[f"backscatter_{part}"][2]) for part in "ri")
        np.testing.assert_array_equal((real + 1j * imaginary).T, frame.samples)
        assert group["sample_count"][0, 0] == 1272
        time_s = group["blanking_interval"][0, 0] + np.arange(1272) * np.float64(group["sample_interval"][0])
        range_m = group["sound_speed_at_transducer"][0] * (time_s - group["sample_time_offset"][0, 0]) / 2
        np.testing.assert_allclose(range_m, frame.range_m, atol=1e-4)
        np.testing.assert_allclose(group["rx_beam_rotation_psi"][0], np.degrees(frame.bearing_rad), rtol=1e-6)
        assert group["non_quantitative_processing"][0] == 1
        assert group["ping_time"][0] == round(frame.time_s * 1e9)


def test_single_targets_are_those_of_the_detector(recordings, tmp_path):
    result = export(
        "sonar-netcdf",
        *recordings.glob("ek60/RedSlip*.raw"),
        "--profile",
        "simrad-ek60",
        "--data",
        tmp_path,
        "-o",
        tmp_path / "out.nc",
    )
    assert result.exit_code == 0, result.output
    with h5py.File(tmp_path / "out.nc") as file:
        group = file["Sonar/Beam_group1/SingleTarget"]
        columns = {
            name: [np.ravel(row)[0] for row in item]
            for name, item in group.items()
            if isinstance(item, h5py.Dataset) and item.dtype.kind == "O"
        }
        counts = group["single_target_count"][:, 0]
        assert counts.sum() > 1000
        for name, rows in columns.items():
            assert [len(row) for row in rows] == counts.tolist(), name
        identifiers = np.concatenate(columns["single_target_identifier"])
        np.testing.assert_array_equal(identifiers, np.arange(counts.sum()))
        gain = np.concatenate(columns["compensated_TS"]) - np.concatenate(columns["uncompensated_TS"])
        assert 0 <= gain.min() < gain.max() <= 2 * group["param_gain_compensation"][0, 0]
        assert np.concatenate(columns["compensated_TS"]).min() >= group["param_TS_threshold"][0, 0]
        depth = np.concatenate(columns["single_target_range"])
        assert 0 < depth.min() < depth.max() < 20


def test_what_has_no_ping_or_no_calibration_is_a_sentence_and_leaves_no_file(recordings, tmp_path):
    (tmp_path / "noise.raw").write_bytes(bytes(100_000))
    for kind in ("sv", "sonar-netcdf"):
        with pytest.raises(NimsError, match=r"noise.raw"):
            export(
                kind, tmp_path / "noise.raw", "--profile", "simrad-ek60", "--data", tmp_path, "-o", tmp_path / "out.nc"
            )
    with pytest.raises(NimsError, match="calibrated"):
        export(
            "sv",
            *recordings.glob("m3/*.imb"),
            "--profile",
            "kongsberg-m3",
            "--data",
            tmp_path,
            "-o",
            tmp_path / "out.nc",
        )
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith((".nc", ".part"))] == []


def test_a_recording_that_ends_early_gives_what_was_in_it(recordings, tmp_path):
    whole = (recordings / f"{DY1801}.raw").read_bytes()
    (tmp_path / "cut.raw").write_bytes(whole[: len(whole) // 2])
    result = export(
        "sv",
        tmp_path / "cut.raw",
        tmp_path / "none.raw",
        "--profile",
        "simrad-ek60",
        "--data",
        tmp_path,
        "-o",
        tmp_path / "out.nc",
    )
    assert result.exit_code == 1
    assert "none.raw" in result.stderr
    with h5py.File(tmp_path / "out.nc") as file:
        assert 15 < file["Sv"].shape[1] < 25


@pytest.mark.parametrize("named", [True, False], ids=["by the option", "by the folder"])
def test_pings_of_a_vessel_have_the_places_that_the_archive_knows(recordings, tmp_path, named):
    packet = (recordings / "m3/m3-header14-128x1272-one-ping.imb").read_bytes()
    recording = tmp_path / "bow" / "bow_20260701T120000.000Z.imb"
    recording.parent.mkdir()
    recording.write_bytes(packet)
    (frame,) = read(recording, "kongsberg-m3")
    database = connect(tmp_path / FILE_NAME)
    with database:
        # ten seconds before and after; the ping is in the middle of a turn through north
        rows = [PoseRow(frame.time_s - 10.0, 50.0, 5.0, 350.0), PoseRow(frame.time_s + 10.0, 50.002, 5.004, 20.0)]
        insert_poses(database, [("bow", row) for row in rows])
    database.close()
    arguments = ["sonar-netcdf", recording, "--profile", "kongsberg-m3", "--data", tmp_path]
    for more, expected in (
        (["--sonar", "bow"] if named else [], (50.001, 5.002, 5.0)),
        (["--sonar", "stern"], (np.nan, np.nan, np.nan)),
        (["--set", "location.source=fixed", "--set", "location.latitude_deg=1"], (1.0, 0.0, 0.0)),
    ):
        assert export(*arguments, *more, "-o", tmp_path / "out.nc").exit_code == 0
        with h5py.File(tmp_path / "out.nc") as file:
            group = file["Sonar/Beam_group1"]
            told = [group[f"platform_{name}"][0] for name in ("latitude", "longitude", "heading")]
        assert told == pytest.approx(expected, abs=1e-6, nan_ok=True)
