"""What the three WebSockets say and take."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionRejected, WebSocketConnection

from nims_appliance.context import Context
from nims_appliance.pipeline.display import DisplayEncoder
from nims_appliance.pipeline.metrics import MetricsBin
from nims_appliance.pipeline.results import TrackSummary


async def next_of_type(client: WebSocketConnection, kind: str) -> dict[str, Any]:
    """Return the next JSON message of a type; others are passed over."""
    while True:
        message = await client.get_message()
        if isinstance(message, str) and (decoded := json.loads(message))["type"] == kind:
            return decoded


async def next_picture(client: WebSocketConnection) -> tuple[dict[str, Any], bytes]:
    while True:
        message = await client.get_message()
        if isinstance(message, bytes):
            (length,) = struct.unpack_from("<I", message)
            return json.loads(message[4 : 4 + length]), message[4 + length :]


async def wait_for_subscribers(bus: Any, number: int = 1) -> None:
    while bus.subscribers < number:
        await trio.sleep(0.01)


# /livesocket


async def test_the_live_socket_greets_and_tells_the_state(context: Context, serve, connect) -> None:
    async with serve(context) as port, connect(port, "/livesocket") as client:
        hello = await next_of_type(client, "hello")
        assert hello["protocol"] == 1
        state = await next_of_type(client, "state")
        assert [sonar["name"] for sonar in state["sonars"]] == ["pen"]
        assert state["errors"] == []


async def test_an_ended_track_comes_with_its_description(context: Context, serve, connect, make_result) -> None:
    numbers = {field.name: 0.5 for field in dataclasses.fields(TrackSummary) if field.type == "float"}
    exact = {"id": 2**62 + 5, "hits": 9, "pings": 12, "calibrated": False, "label": "probable animal"}
    summary = TrackSummary(**(numbers | exact | {"net_sd_m": math.nan}))
    async with serve(context) as port, connect(port, "/livesocket") as client:
        await wait_for_subscribers(context.results, 2)
        context.results.publish(dataclasses.replace(make_result(8), tracks=(), ended=(summary,)))
        message = await next_of_type(client, "tracks")
        (description,) = message["descriptions"]
        assert message["ended"] == [description["id"]] == [str(2**62 + 5)]
        assert description["label"] == "probable animal"
        assert (description["probability"], description["net_sd_m"]) == (0.5, None)


async def test_bins_of_metrics_come_with_their_layers_and_pictures_only_to_who_wants_them(
    context: Context, serve, connect, make_frame
) -> None:
    values = dict.fromkeys(("sa_db", "center_of_mass_m", "inertia_m2", "proportion_occupied"), 0.5)
    values |= {"sv_db": -61.5, "equivalent_area_m": 1.0, "aggregation_index_per_m": 1.0, "layers": 2}
    layer = MetricsBin("pen", "", 9, 1000.0, 1004.5, 45, True, part=3, **values)
    context.sonars["pen"].last_picture = DisplayEncoder().encode(make_frame(1))
    async with serve(context) as port, connect(port, "/livesocket?pictures=no") as client:
        await wait_for_subscribers(context.metrics)
        await wait_for_subscribers(context.sonars["pen"].pictures)
        context.sonars["pen"].pictures.publish(DisplayEncoder().encode(make_frame(2)))
        context.metrics.publish(dataclasses.replace(layer, part=0, noise_db=math.nan, by_layer=(layer,)))
        seen = []
        while not seen or not isinstance(seen[-1], str) or json.loads(seen[-1])["type"] != "metrics":
            seen.append(await client.get_message())
    assert not any(isinstance(message, bytes) for message in seen)
    message = json.loads(seen[-1])
    assert (message["sonar"], message["channel"]) == ("pen", "")
    assert [(part["layer"], part["sv_db"], part["end_s"], part["noise_db"]) for part in message["bins"]] == [
        (0, -61.5, 1004.5, None),
        (3, -61.5, 1004.5, None),
    ]


async def test_a_viewer_that_comes_late_sees_the_newest_picture_and_tracks_at_once(
    context: Context, serve, connect, make_frame, make_result
) -> None:
    async with serve(context) as port:
        context.sonars["pen"].last_picture = DisplayEncoder().encode(make_frame(7))
        await wait_for_subscribers(context.results)
        context.results.publish(make_result(7))
        await trio.testing.wait_all_tasks_blocked(0.01)
        async with connect(port, "/livesocket") as client:
            tracks = await next_of_type(client, "tracks")
            assert tracks["tracks"][0]["id"] == str(2**62 + 5)
        async with connect(port, "/livesocket") as client:
            head, cells = await next_picture(client)
            assert head["frame"] == 7
            assert len(cells) == head["rows"] * head["columns"] == 40 * 16


async def test_a_viewer_that_does_not_keep_up_gets_fewer_but_new_pictures(
    context: Context, serve, connect, make_frame
) -> None:
    encoder = DisplayEncoder()
    sonar = context.sonars["pen"]
    sonar.last_picture = encoder.encode(make_frame(0))
    async with serve(context) as port, connect(port, "/livesocket") as slow, connect(port, "/livesocket") as quick:
        for client in (slow, quick):
            assert (await next_picture(client))[0]["frame"] == 0
        await wait_for_subscribers(sonar.pictures)
        await trio.testing.wait_all_tasks_blocked(0.01)
        for number in range(1, 9):
            sonar.pictures.publish(encoder.encode(make_frame(number)))
            assert (await next_picture(quick))[0]["frame"] == number
            await quick.send_message(json.dumps({"type": "seen", "sonar": "pen", "frame": number}))
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert [(await next_picture(slow))[0]["frame"] for _ in range(3)] == [1, 2, 3]
        await slow.send_message(json.dumps({"type": "seen", "sonar": "pen", "frame": 3}))
        assert (await next_picture(slow))[0]["frame"] == 8


async def test_every_column_of_an_echogram_is_sent(context: Context, serve, connect, make_frame) -> None:
    encoder = DisplayEncoder()
    sonar = context.sonars["pen"]
    sonar.last_picture = encoder.encode(make_frame(0, beams=1))
    async with serve(context) as port, connect(port, "/livesocket") as client:
        assert (await next_picture(client))[0]["kind"] == "echogram"
        await wait_for_subscribers(sonar.pictures)
        await trio.testing.wait_all_tasks_blocked(0.01)
        for number in range(1, 30):
            sonar.pictures.publish(encoder.encode(make_frame(number, beams=1)))
        assert [(await next_picture(client))[0]["frame"] for _ in range(29)] == list(range(1, 30))


async def test_a_viewer_that_comes_late_sees_the_echogram_of_the_last_minutes(
    context: Context, serve, connect, make_frame
) -> None:
    encoder = DisplayEncoder()
    sonar = context.sonars["pen"]
    sonar.columns.extend(encoder.encode(make_frame(number, beams=1)) for number in range(200))
    async with serve(context) as port, connect(port, "/livesocket") as client:
        assert [(await next_picture(client))[0]["frame"] for _ in range(200)] == list(range(200))
        for number in (199, 200):  # 199 was among the past ones already
            sonar.pictures.publish(encoder.encode(make_frame(number, beams=1)))
        assert (await next_picture(client))[0]["frame"] == 200
        async with connect(port, "/livesocket") as later:  # beside one that watches
            assert (await next_picture(later))[0]["frame"] == 0


async def test_nonsense_from_a_viewer_is_passed_over(context: Context, serve, connect, make_frame) -> None:
    context.sonars["pen"].last_picture = DisplayEncoder().encode(make_frame(3))
    async with serve(context) as port, connect(port, "/livesocket") as client:
        kinds = ("", "{", "[]", "[" * 100_000, '{"type": 1}', '{"type":"seen","sonar":"nobody","frame":1}', b"\x00")
        for nonsense in kinds:
            await client.send_message(nonsense)
        assert (await next_picture(client))[0]["frame"] == 3
        await next_of_type(client, "state")


async def test_a_sonar_that_is_set_up_anew_is_followed(context: Context, serve, connect, make_frame) -> None:
    from nims_appliance.bus import Bus
    from nims_appliance.context import Sonar

    old = context.sonars["pen"]
    async with serve(context) as port, connect(port, "/livesocket") as client:
        await wait_for_subscribers(old.pictures)
        new = Sonar("pen", old.settings, old.profile, Bus("frames"), Bus("pictures"))
        new.last_picture = DisplayEncoder().encode(make_frame(5))
        context.sonars["pen"] = new
        assert (await next_picture(client))[0]["frame"] == 5
        while old.pictures.subscribers:
            await trio.sleep(0.01)


# /echosocket


async def test_a_ping_has_the_keys_and_units_of_the_original(context: Context, serve, connect, make_frame) -> None:
    sonar = context.sonars["pen"]
    frame = make_frame(4)
    picture = DisplayEncoder().encode(frame)
    async with serve(context) as port, connect(port, "/echosocket") as client:
        await wait_for_subscribers(sonar.pictures)
        sonar.pictures.publish(picture)
        ping = await next_of_type(client, "ping")
        assert await client.get_message() == picture.payload
    assert ping["device"] == "test sonar"
    assert (ping["pingid"], ping["ping_sec"], ping["ping_ms"]) == (1004, 1_700_000_000, 650)
    assert ping["ts"] == "2023-11-14T22:13:20.650Z"
    assert (ping["num_samples"], ping["num_beams"]) == (40, 16)
    assert (ping["range_min"], ping["range_max"]) == (1.0, 20.5)
    assert ping["beam_angles"] == pytest.approx([math.degrees(-1 + i * 2 / 15) for i in range(16)])
    assert ping["min_angle"] == pytest.approx(-57.29578)
    assert ping["max_angle"] == pytest.approx(57.29578)
    assert ping["sector_size"] == pytest.approx(114.59156)
    assert (ping["soundspeed"], ping["freq"], ping["pulse_rep"]) == (1500.0, 500e3, 10.0)
    assert ping["pulse_len"] == pytest.approx(1e-4)
    assert ping["intensity"]["message"] == "next"
    assert len(picture.payload) - ping["intensity"]["offset"] == 40 * 16


async def test_old_clients_can_have_every_sample_as_json(context: Context, serve, connect, make_frame) -> None:
    sonar = context.sonars["pen"]
    frame = make_frame(4, samples=700, beams=3)
    frame.intensity[5, 1] = math.inf
    async with serve(context) as port, connect(port, "/echosocket?intensity=json&sonar=pen") as client:
        await wait_for_subscribers(sonar.frames)
        sonar.frames.publish(frame)
        ping = await next_of_type(client, "ping")
    assert len(ping["intensity"]) == 2100
    assert ping["intensity"][5 * 3 + 1] is None
    assert ping["intensity"][4 * 3 + 1] == pytest.approx(1e3)
    assert ping["intensity"][0] == pytest.approx(1e-3)


async def test_metrics_carry_what_their_names_say(context: Context, serve, connect) -> None:
    done = MetricsBin(
        sonar_id="pen",
        channel="",
        ping_number=9,
        start_s=1_700_000_000.0,
        end_s=1_700_000_005.0,
        pings=50,
        calibrated=False,
        sv_db=-66.0,
        sa_db=-53.0,
        center_of_mass_m=7.5,
        inertia_m2=2.0625,
        proportion_occupied=0.25,
        equivalent_area_m=5.0,
        aggregation_index_per_m=math.nan,
        layers=1,
    )
    async with serve(context) as port, connect(port, "/echosocket") as client:
        await wait_for_subscribers(context.metrics)
        context.metrics.publish(done)
        metrics = await next_of_type(client, "metrics")
    assert metrics["sv_area"] == -53.0
    assert metrics["sv_volume"] == -66.0
    assert metrics["center_of_mass"] == 7.5
    assert metrics["inertia"] == 2.0625
    assert metrics["proportion_occupied"] == 0.25
    assert metrics["equivalent_area"] == 5.0
    assert metrics["aggregation_index"] is None
    assert metrics["pingid"] == 9


async def test_tracks_are_those_of_the_track_server(context: Context, serve, connect, make_result) -> None:
    async with serve(context) as port, connect(port, "/echosocket") as client:
        await wait_for_subscribers(context.results, 2)
        context.results.publish(make_result(3))
        tracks = await next_of_type(client, "tracks")
    assert tracks["num_tracks"] == 1
    assert tracks["tracks"][0]["id"] == 2**62 + 5
    assert tracks["tracks"][0]["last_pos_bearing"] == pytest.approx(math.degrees(math.atan2(3, 10)))
    assert tracks["tracks"][0]["height"] is None


async def test_the_configuration_comes_first_and_when_it_changes(context: Context, serve, connect) -> None:
    async with serve(context) as port, connect(port, "/echosocket") as client:
        config = await next_of_type(client, "config")
        assert config["sonars"]["pen"]["profile"] == "kongsberg-m3"
        await context.config.change({"sonars.pen.detector.min_range_m": 2.5}, "test")
        assert (await next_of_type(client, "config"))["sonars"]["pen"]["detector"]["min_range_m"] == 2.5


@pytest.mark.parametrize(("query", "status"), [("?sonar=nobody", 404), ("?intensity=float", 400)])
async def test_a_wrong_question_is_refused_before_the_socket_opens(
    context: Context, serve, connect, query: str, status: int
) -> None:
    async with serve(context) as port:
        with pytest.raises((ConnectionRejected, ExceptionGroup)) as refused:
            async with connect(port, f"/echosocket{query}"):
                pass
        error = refused.value
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        assert error.status_code == status


# /pagesocket


async def test_a_change_is_saved_and_pushed_to_others_but_not_back(context: Context, serve, connect, operator) -> None:
    async with (
        serve(context) as port,
        connect(port, "/pagesocket", **operator) as author,
        connect(port, "/pagesocket", **operator) as other,
    ):
        for client in (author, other):
            assert (await next_of_type(client, "config"))["sonars"]["pen"]["detector"]["min_range_m"] == 0.0
        change = {"type": "change", "id": 7, "changes": {"sonars.pen.detector.min_range_m": 3.5}}
        await author.send_message(json.dumps(change))
        saved = json.loads(await author.get_message())
        assert saved == {"type": "saved", "id": 7, "changes": {"sonars.pen.detector.min_range_m": 3.5}}
        assert (await next_of_type(other, "config"))["sonars"]["pen"]["detector"]["min_range_m"] == 3.5
        assert context.config.sonar("pen").detector.min_range_m == 3.5
        assert "min_range_m: 3.5" in (context.data / "overrides.yaml").read_text()
        await other.send_message(json.dumps({"type": "change", "id": 1, "changes": {"web.picture_rate_hz": 5}}))
        assert json.loads(await other.get_message())["type"] == "saved"
        assert json.loads(await author.get_message())["web"]["picture_rate_hz"] == 5


async def test_a_page_of_the_original_sends_the_whole_configuration_back(
    context: Context, serve, connect, operator
) -> None:
    async with serve(context) as port, connect(port, "/pagesocket", **operator) as client:
        config = await next_of_type(client, "config")
        config["sonars"]["pen"]["tracker"]["max_gap_s"] = "2.5"  # its forms give strings
        config["sonars"]["pen"]["enabled"] = "false"
        await client.send_message(json.dumps(config))
        saved = json.loads(await client.get_message())
        assert saved["changes"] == {"sonars.pen.tracker.max_gap_s": 2.5, "sonars.pen.enabled": False}
        assert "type" not in (context.data / "overrides.yaml").read_text()
        await client.send_message(json.dumps({"web": {"picture_rate_hz": 4}}))  # a part of it
        assert json.loads(await client.get_message())["changes"] == {"web.picture_rate_hz": 4}


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (
            '{"type":"change","id":3,"changes":{"sonars.pen.detector.min_range_m":-1}}',
            "sonars.pen.detector.min_range_m",
        ),
        ('{"type":"change","id":3,"changes":{"sonars.pen.no_such_key":1}}', "no_such_key"),
        ('{"type":"change","id":3,"changes":{"web.port":1234}}', "web.port"),
        ('{"type":"change","id":3,"changes":[1]}', "changes"),
        ('{"sonars":{"pen":{"tracker":{"max_gap_s":"soon"}}}}', "max_gap_s"),
        ("not json", "JSON"),
        ("[1,2]", "JSON"),
        ("[" * 100_000, "JSON"),
        ('{"a":' * 900 + "1" + "}" * 900, "nested deeper"),
        ("", "JSON"),
    ],
)
async def test_a_wrong_change_is_refused_and_its_key_named(
    context: Context, serve, connect, operator, message: str, named: str
) -> None:
    before = context.config.values()
    async with serve(context) as port, connect(port, "/pagesocket", **operator) as client:
        await next_of_type(client, "config")
        await client.send_message(message)
        answer = json.loads(await client.get_message())
    assert answer["type"] == "error"
    assert named in answer["error"]
    assert context.config.values() == before
    assert not (context.data / "overrides.yaml").exists()


async def test_a_change_is_looked_at_before_it_is_saved(context: Context, serve, connect, operator) -> None:
    key = "sonars.pen.detector.min_range_m"
    async with serve(context) as port, connect(port, "/pagesocket", **operator) as client:
        await next_of_type(client, "config")
        await client.send_message(json.dumps({"type": "check", "id": 4, "changes": {key: 2.5, "web.port": 1}}))
        answer = json.loads(await client.get_message())
        assert (answer["type"], answer["id"], list(answer["problems"])) == ("checked", 4, ["web.port"])
        await client.send_message(json.dumps({"type": "check", "id": 5, "changes": {key: 2.5}}))
        answer = json.loads(await client.get_message())
        assert answer["problems"] == {}
        (row,) = answer["rows"]
        assert (row["key"], row["old"], row["new"], row["restart"]) == (key, 0.0, 2.5, "")
        await client.send_message(json.dumps({"type": "check", "id": 6, "changes": 3}))
        assert json.loads(await client.get_message())["problems"]
    assert context.config.sonar("pen").detector.min_range_m == 0.0


async def test_of_two_pages_that_change_one_setting_the_later_is_told(
    context: Context, serve, connect, operator
) -> None:
    key = "sonars.pen.detector.min_range_m"
    async with (
        serve(context) as port,
        connect(port, "/pagesocket", **operator) as first,
        connect(port, "/pagesocket", **operator) as second,
    ):
        for client in (first, second):
            await next_of_type(client, "config")
        for value, client in ((2.5, first), (3.5, second)):
            change = {"type": "change", "id": value, "changes": {key: value}, "expected": {key: 0.0}}
            await client.send_message(json.dumps(change))
            if client is first:
                assert (await next_of_type(first, "saved"))["id"] == 2.5
        refused = await next_of_type(second, "error")
        assert list(refused["problems"]) == [key]
        assert "somebody else" in refused["error"]
    assert context.config.sonar("pen").detector.min_range_m == 2.5


async def test_viewers_are_told_nothing_of_what_a_change_would_do(context: Context, serve, connect) -> None:
    async with serve(context) as port, connect(port, "/pagesocket") as client:
        await next_of_type(client, "config")
        await client.send_message(json.dumps({"type": "check", "id": 4, "changes": {"web.picture_rate_hz": 5}}))
        assert json.loads(await client.get_message())["status"] == 401
