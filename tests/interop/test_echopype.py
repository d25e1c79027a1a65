"""Sv exports in the real echopype, which is too large for the usual environment.

Run by hand, in an environment that has it: pip install '.[echopype]' pytest trio hypothesis, then
``pytest tests/interop``. Without it these tests are not collected.
"""

from __future__ import annotations

from pathlib import Path

import echopype
import numpy as np
import pytest
import xarray
from click.testing import CliRunner

from nims_appliance.cli import nims

DY1801 = "ek60/DY1801_EK60-D20180211-T164025.raw"


@pytest.fixture(scope="module")
def ours(recordings: Path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sv")
    arguments = ["export", "sv", str(recordings / DY1801), "--profile", "simrad-ek60", "--data", str(folder)]
    result = CliRunner().invoke(nims, [*arguments, "-o", str(folder / "sv.nc")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return xarray.load_dataset(folder / "sv.nc", engine="h5netcdf")


@pytest.fixture(scope="module")
def theirs(recordings: Path):
    return echopype.calibrate.compute_Sv(echopype.open_raw(recordings / DY1801, sonar_model="EK60"))


def test_sv_and_ranges_are_those_of_echopype(ours, theirs):
    theirs = theirs.sel(channel=ours.channel)
    np.testing.assert_allclose(ours.Sv, theirs.Sv, atol=2e-5)
    np.testing.assert_array_equal(ours.echo_range, theirs.echo_range)
    np.testing.assert_array_equal(ours.frequency_nominal, theirs.frequency_nominal)


def test_echopype_computes_mvbs_and_removes_noise(ours, theirs):
    options = {"range_bin": "5m", "ping_time_bin": "10s"}
    expected = echopype.commongrid.compute_MVBS(theirs, **options).sel(channel=ours.channel)
    np.testing.assert_allclose(echopype.commongrid.compute_MVBS(ours, **options).Sv, expected.Sv, atol=1e-4)
