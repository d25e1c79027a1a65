"""Downloads of GeoJSON, metrics and backups, against what an archive was given."""

from __future__ import annotations

import csv
import io

import httpx

from nims_appliance.archive import Archive, ArchiveReader
from nims_appliance.backup import restore_backup
from nims_appliance.context import Context
from nims_appliance.export import tables
from nims_appliance.health import Part
from nims_appliance.pipeline.metrics import MetricsBin
from nims_appliance.pipeline.results import TrackSummary


def make_track(number: int) -> TrackSummary:
    values = {name: 1.0 for name, kind in TrackSummary.__annotations__.items() if kind == "float"}
    values |= {"id": number, "last_time_s": 1000.0 + number, "hits": 9, "pings": 10, "calibrated": True}
    return TrackSummary(**(values | {"positions": ((1.0, 0.0, 10.0, 0.0), (2.0, 0.0, 20.0, 0.0))}))


def make_bin(end_s: float) -> MetricsBin:
    names = ("sv_db", "sa_db", "center_of_mass_m", "inertia_m2", "equivalent_area_m", "aggregation_index_per_m")
    values = dict.fromkeys(names, -60.0) | {"sonar_id": "pen", "channel": "", "ping_number": 1, "pings": 5}
    values |= {"start_s": end_s - 5, "end_s": end_s, "calibrated": True, "proportion_occupied": 0.5, "layers": 0}
    return MetricsBin(**values)


async def fill(context: Context) -> None:
    context.archive = archive = Archive(context.data, Part("archive"))
    for number in range(25):
        archive._tracks.put(("pen", make_track(number)))
        archive._bins.put(make_bin(1000.0 + 5 * number))
    assert await archive._write()
    archive._close()


async def test_geojson_has_the_tracks_that_fit(context, serve, monkeypatch):
    monkeypatch.setattr(tables, "PAGE", 10)
    await fill(context)
    async with serve(context) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.get("/api/v1/export/tracks.geojson", params={"from": 1002})
        assert answer.headers["content-type"] == "application/geo+json"
        assert "tracks.geojson" in answer.headers["content-disposition"]
        features = answer.json()["features"]
        assert [feature["id"] for feature in features] == [str(number) for number in range(2, 25)]
        assert (await client.get("/api/v1/export/tracks.geojson", params={"from": "soon"})).status_code == 400


async def test_metrics_csv_has_every_bin(context, serve, monkeypatch):
    monkeypatch.setattr(tables, "PAGE", 10)
    await fill(context)
    async with serve(context) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.get("/api/v1/export/metrics.csv", params={"to": 1100})
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [float(row["end_s"]) for row in rows] == [1000.0 + 5 * number for number in range(20)]
        assert {row["sv_db"] for row in rows} == {"-60.0"}


async def test_a_backup_is_for_admins_and_leaves_nothing_behind(context, serve, operator, tmp_path):
    await fill(context)
    _, token = context.access.add_token("safe", "admin", "test")
    async with serve(context) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/api/v1/backup")).status_code == 401
        assert (await client.get("/api/v1/backup", headers=operator)).status_code == 403
        answer = await client.get("/api/v1/backup", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    (tmp_path / "b.zip").write_bytes(answer.content)
    manifest, _ = restore_backup(tmp_path / "b.zip", tmp_path / "new")
    assert {"config.yaml", "users.json", "nims.sqlite3"} <= {entry.name for entry in manifest.files}
    assert len(ArchiveReader(tmp_path / "new" / "nims.sqlite3").tracks(limit=100)[0]) == 25
    assert list(context.data.glob(".backup-*")) == []
