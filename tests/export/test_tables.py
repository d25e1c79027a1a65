"""Exports of the archive, from rows in the file to what other programs read."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from nims_appliance.archive import TrackFilter
from nims_appliance.cli import nims
from nims_appliance.errors import NimsError
from nims_appliance.export import tables, text
from nims_appliance.export.optional import need
from nims_appliance.export.table_files import write_text

PLACE = "sonars: {pen: {profile: kongsberg-m3, link: 'tcp://h:1', location: {%s}}}"


def export(*arguments: object):
    """Run `nims export` as an operator does."""
    return CliRunner().invoke(nims, ["export", *(str(argument) for argument in arguments)], catch_exceptions=False)


def test_csv_has_a_row_for_each_track_with_units_in_the_header(tmp_path, fill_archive, make_track):
    fill_archive(tmp_path, tracks=[("pen", make_track(2)), ("gate", make_track(1, label="", calibrated=False))])
    result = export("tracks", "--data", tmp_path, "-o", tmp_path / "out.csv")
    assert result.exit_code == 0, result.output
    with open(tmp_path / "out.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["id"], first["sonar"], first["label"], first["calibrated"]) == ("1", "gate", "", "0")
    assert second["last_time"] == "2023-11-14T22:13:22.000Z"
    assert float(second["mean_speed_m_s"]) == 0.5
    assert float(second["heading_deg"]) == -90
    assert second["mean_width_m"] == ""  # it was not finite
    assert "2 tracks" in result.stderr


def test_tracks_are_filtered_by_sonar_time_and_class(tmp_path, fill_archive, make_track):
    rows = [
        (sonar, make_track(10 * n + k, label="fish" if n % 2 else "structure"))
        for k, sonar in enumerate(("pen", "gate"))
        for n in range(6)
    ]
    fill_archive(tmp_path, tracks=rows)
    result = export(
        "tracks",
        "--data",
        tmp_path,
        "--format",
        "jsonl",
        "--sonar",
        "pen",
        "--label",
        "fish",
        "--from",
        "2023-11-14T22:13:30Z",
        "--to",
        1700000000.0 + 50,
    )
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [track["id"] for track in found] == [10, 30]
    unknown = {"latitude_deg": None, "longitude_deg": None}
    assert found[0]["positions"][1] == {"time_s": 1700000000.5, "x_m": 1.5, "y_m": 2.5, "z_m": 0.25, **unknown}


def test_pages_are_read_as_they_are_taken_and_meet_without_gap_or_overlap(
    tmp_path, fill_archive, make_track, monkeypatch
):
    monkeypatch.setattr(tables, "PAGE", 7)
    reader = fill_archive(tmp_path, tracks=[("pen", make_track(n, last_time_s=1.7e9 + n // 3)) for n in range(50)])
    asked = []
    ask = reader.tracks
    monkeypatch.setattr(reader, "tracks", lambda *args, **more: asked.append(1) or ask(*args, **more))
    pages = tables.track_pages(reader, TrackFilter())
    next(pages)
    assert len(asked) == 1
    assert [track["id"] for page in pages for track in page] == list(range(7, 50))


def test_metrics_come_series_by_series_with_their_layers(tmp_path, fill_archive, make_bin, monkeypatch):
    monkeypatch.setattr(tables, "PAGE", 2)
    fill_archive(tmp_path, bins=[make_bin(1.7e9 + 5 * n, -50.0 - n, layers=2) for n in range(5)])
    result = export("metrics", "--data", tmp_path, "-o", tmp_path / "out.csv")
    assert result.exit_code == 0, result.output
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == ["0"] * 5 + ["1"] * 5 + ["2"] * 5
    assert [float(row["sv_db"]) for row in rows[:5]] == [-50, -51, -52, -53, -54]
    assert (rows[0]["top_m"], rows[5]["bottom_m"], rows[10]["top_m"]) == ("1.0", "5.0", "5.0")
    assert rows[0]["nasc_m2_nmi2"] == "12.5"
    one = export("metrics", "--data", tmp_path, "--layer", 2, "--from", 1.7e9 + 15, "--format", "jsonl")
    assert [json.loads(line)["sv_db"] for line in one.stdout.splitlines()] == [-53, -54]


def test_geojson_has_lines_at_the_places_of_the_settings(tmp_path, fill_archive, make_track):
    # On the equator a degree of latitude is 110574 m, one of longitude 111320 m (WGS 84); the axis points east.
    (tmp_path / "config.yaml").write_text(PLACE % "source: fixed, latitude_deg: 0, longitude_deg: 10, axis_deg: 90")
    path = ((1700000000.0, 0.0, 0.0, 0.0), (1700000001.0, 0.0, 111.320, 0.0), (1700000002.0, 110.574, 0.0, 0.0))
    fill_archive(tmp_path, tracks=[("pen", make_track(2**60 + 1, positions=path)), ("lost", make_track(1))])
    result = export("tracks", "--data", tmp_path, "-o", tmp_path / "out.geojson")
    collection = json.loads((tmp_path / "out.geojson").read_text())
    assert collection["type"] == "FeatureCollection"
    lost, placed = sorted(collection["features"], key=lambda feature: feature["properties"]["sonar"])
    assert placed["geometry"]["type"] == "LineString"
    first, second, third = placed["geometry"]["coordinates"]
    assert first == [10, 0]
    assert second == pytest.approx([10.001, 0], abs=1e-7)  # a centimetre
    assert third == pytest.approx([10, -0.001], abs=1e-7)  # to starboard of east is south
    assert placed["id"] == str(2**60 + 1)
    assert placed["properties"]["coordTimes"][2] == "2023-11-14T22:13:22.000Z"
    assert lost["geometry"] is None
    assert "sonars.lost.location" in result.stderr
    assert "sonars.pen.location" not in result.stderr


def test_a_line_over_the_date_line_is_cut_there():
    track = {"id": 1, "sonar": "pen", "positions": [(0.0, 0.0, 0.0, 0.0), (1.0, 111.320, 0.0, 0.0)]}
    feature = json.loads(text.geojson_page([track | {"places": [(0.0, 179.9995), (0.0, -179.9995)]}], first=True))
    (west, east) = feature["geometry"]["coordinates"]
    assert feature["geometry"]["type"] == "MultiLineString"
    assert west[-1][0] == 180
    assert east[0][0] == -180
    assert east[-1][0] == pytest.approx(-179.9995, abs=1e-6)


def test_an_empty_archive_gives_valid_files(tmp_path, fill_archive):
    fill_archive(tmp_path)
    assert len(export("tracks", "--data", tmp_path).stdout.splitlines()) == 1
    assert json.loads(export("tracks", "--data", tmp_path, "--format", "geojson").stdout)["features"] == []


def test_parquet_is_read_back_by_pyarrow(tmp_path, fill_archive, make_track, monkeypatch):
    parquet = importlib.import_module("pyarrow.parquet")
    monkeypatch.setattr(tables, "PAGE", 2)
    fill_archive(tmp_path, tracks=[("pen", make_track(n)) for n in range(5)])
    result = export("tracks", "--data", tmp_path, "-o", tmp_path / "out.parquet")
    assert result.exit_code == 0, result.output
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["id"] for row in table] == list(range(5))
    unknown = {"latitude_deg": None, "longitude_deg": None}
    assert table[0]["positions"][0] == {"time_s": 1700000000.25, "x_m": 1.0, "y_m": 2.0, "z_m": 0.0, **unknown}
    assert table[0]["mean_width_m"] is None
    assert table[0]["calibrated"] is True


def test_no_archive_and_no_place_to_write_are_sentences(tmp_path, fill_archive):
    with pytest.raises(NimsError, match="there is no archive"):
        export("tracks", "--data", tmp_path)
    fill_archive(tmp_path)
    with pytest.raises(NimsError, match="cannot write"):
        export("tracks", "--data", tmp_path, "-o", tmp_path / "nowhere" / "out.csv")


def test_what_fails_in_between_leaves_the_older_file(tmp_path):
    def pieces():
        yield "half"
        raise RuntimeError("broken")

    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(RuntimeError):
        write_text(pieces(), str(tmp_path / "out.csv"))
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "old"


@pytest.mark.parametrize("package", ["h5py", "h5netcdf", "pyarrow"])
def test_a_package_that_is_missing_is_named_with_the_way_to_get_it(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NimsError, match=rf"needs the Python package {package}, .*pip download.*/d/plugins .*{package}"):
        need(package, "this", Path("/d"))
