"""`/metrics`: held to the text exposition format by a parser of its own, and by promtool where it is installed."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from nims_appliance.bus import LATEST, Bus
from nims_appliance.context import Context
from nims_appliance.vitals import Vitals
from nims_appliance.web import prometheus
from nims_appliance.web.health import describe_health
from nims_appliance.web.prometheus import exposition
from nims_appliance.web.state import WebState

NAME = re.compile(r"[a-z][a-z0-9_]*")
SAMPLE = re.compile(r'([a-z_][a-z0-9_]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\[\\"n])*)"')
ABBREVIATED = re.compile(r"_(s|ms|hz|m|deg|rad|mb|gb|pct|percent)(_|$)")

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


def parse(text: str) -> tuple[Samples, dict[str, str]]:
    """Return samples by name and labels, and the type of each name; an AssertionError where the format is broken.

    After https://prometheus.io/docs/instrumenting/exposition_formats/ and the naming rules beside it.
    """
    assert text.endswith("\n")
    samples: Samples = defaultdict(dict)
    kinds: dict[str, str] = {}
    helped: set[str] = set()
    current = ""
    for line in text[:-1].split("\n"):
        if match := re.fullmatch(r"# HELP (\S+) (.+)", line):
            current = match[1]
            assert current not in helped, f"{current}: its lines are not together"
            assert NAME.fullmatch(current)
            assert re.fullmatch(r"(?:[^\\]|\\[\\n])*", match[2])
            helped.add(current)
        elif match := re.fullmatch(r"# TYPE (\S+) (counter|gauge)", line):
            assert match[1] == current
            assert current not in kinds
            kinds[current] = match[2]
            assert (match[2] == "counter") == current.endswith("_total"), current
            assert not ABBREVIATED.search(current), f"{current}: units are written out"
            assert current.startswith("nims_")
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == current
            assert current in kinds
            labels = tuple(LABEL.findall(match[2] or ""))
            assert "".join(f'{name}="{value}",' for name, value in labels).rstrip(",") == (match[2] or "")
            assert len({name for name, _ in labels}) == len(labels)
            assert labels not in samples[current], f"{line}: twice"
            value = float(match[3].replace("Inf", "inf"))
            assert kinds[current] == "gauge" or value >= 0
            samples[current][labels] = value
    return samples, kinds


def check_with_promtool(text: str) -> None:
    promtool = shutil.which("promtool")
    if promtool:
        done = subprocess.run(
            [promtool, "check", "metrics"], input=text.encode(), capture_output=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.fixture
def busy(context: Context, make_frame) -> Context:
    """An appliance with something to tell of everything."""
    part = context.health.part("sonar pen")
    part.set("running", "fine")
    part.last_error = 'a "quoted" \\ error'
    part.statistics = lambda: {
        "pings": 12,
        "rate_hz": 9.5,
        "age_s": None,
        "latency_p99_ms": 12.5,
        "packet_errors": {'checksum "a"\n\\': 3, "length": 0},
        "dropped_by": {"pipeline": 1},
        "device": "a text",
        "own_figure": 7,
    }
    context.health.part("recorder pen").statistics = lambda: {"recording": True, "written_bytes": 10**12}
    Vitals(context.data, context.health, lambda: context.sonars)
    context.sonars["pen"].last_frame = make_frame()
    return context


async def test_what_is_counted_is_told_with_units_and_types(busy: Context, serve, make_result) -> None:
    async with serve(busy) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        with busy.results.subscribe("archive", LATEST):
            busy.results.publish(make_result())
            busy.results.publish(make_result())
            answer = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    check_with_promtool(answer.text)
    samples, _ = parse(answer.text)
    pen = (("part", "sonar"), ("sonar", "pen"))
    assert samples["nims_pings_total"] == {pen: 12}
    assert samples["nims_ping_rate_hertz"] == {pen: 9.5}
    assert samples["nims_latency_p99_seconds"] == {pen: pytest.approx(0.0125)}
    assert "nims_last_ping_age_seconds" not in samples, "not known"
    reasons = {labels[1]: value for labels, value in samples["nims_decoder_packet_errors_total"].items()}
    assert reasons == {("reason", 'checksum \\"a\\"\\n\\\\'): 3, ("reason", "length"): 0}
    assert samples["nims_part_value"] == {(("name", "own_figure"), *pen): 7}
    assert samples["nims_part_state"][(*pen, ("state", "running"))] == 1
    assert samples["nims_part_state"][(*pen, ("state", "failed"))] == 0
    assert samples["nims_recording"] == {(("part", "recorder"), ("sonar", "pen")): 1}
    results = {
        labels: value for labels, value in samples["nims_bus_published_total"].items() if ("bus", "results") in labels
    }
    assert results == {(("bus", "results"),): 2}
    assert samples["nims_subscriber_dropped_total"][("bus", "results"), ("subscriber", "archive")] == 1
    assert samples["nims_subscriber_queue"][("bus", "results"), ("subscriber", "archive")] == 1
    assert samples["nims_processors"]


async def test_what_the_oldest_parts_count_has_names_of_its_own(tmp_path, plugins) -> None:
    """`nims_part_value` is for a vendor's plugin, and for what is too new to have a name."""
    from nims_appliance.appliance import run_appliance
    from nims_appliance.config.store import ConfigStore

    given = {
        "sonars.pen.profile": "kongsberg-m3",
        "sonars.pen.link": "simulator:kongsberg-m3?rate=20&beams=16&samples=64",
        "sonars.pen.record": True,
        "web.port": 0,
        "web.host": "127.0.0.1",
        "tracks.port": 0,
    }
    context = Context(tmp_path, ConfigStore.load(tmp_path, plugins=plugins, command_line=given), plugins)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: run_appliance(context, handle_signals=False, task_status=task_status))
        with trio.fail_after(20):
            while not context.sonars or context.sonars["pen"].last_frame is None:
                await trio.sleep(0.05)
        text = exposition(describe_health(context, WebState(context)))
        context.stopping.set()
    check_with_promtool(text)
    samples, _ = parse(text)
    named = {"sonar", "recorder", "archive", "track server", "storage", "clock", "disk", "process"}
    nameless = [dict(labels) for labels in samples.get("nims_part_value", {})]
    assert not [labels for labels in nameless if labels["part"] in named]
    assert samples["nims_link_received_bytes_total"][(("part", "sonar"), ("sonar", "pen"))] > 0


async def test_pages_that_come_and_go_leave_no_names_behind(context: Context) -> None:
    """Each page is a subscriber with a number; a name for each would fill the Prometheus of whoever reads this."""
    bus: Bus[Any] = context.config.changes
    with bus.subscribe("page 1", LATEST), bus.subscribe("page 2 at ::1", LATEST):
        bus.publish(object())
        text = exposition(describe_health(context, WebState(context)))
    samples, _ = parse(text)
    assert samples["nims_subscriber_queue"] == {(("bus", "config changes"), ("subscriber", "page")): 2}


@settings(max_examples=60)
@given(
    st.text(),
    st.dictionaries(
        st.text(),
        st.floats()
        | st.integers()
        | st.booleans()
        | st.none()
        | st.text()
        | st.dictionaries(st.text(), st.integers(0)),
    ),
)
def test_whatever_a_plugin_tells_the_format_holds(name: str, statistics: dict[str, Any]) -> None:
    gauges = {key: value for key, value in statistics.items() if not isinstance(value, (int, float)) or not value < 0}
    part = {
        "name": name,
        "state": "running",
        "restarts": 0,
        "last_error_utc_s": None,
        "statistics": gauges,
    }
    health = {
        "version": "1",
        "versions": {"python": "3"},
        "ok": True,
        "started_utc_s": math.pi,
        "viewers": 0,
        "errors": [],
        "log_counts": {},
        "plugins": [{"name": name, "error": ""}, {"name": name, "error": "twice"}],
        "buses": [],
        "sonars": [{"name": name}],
        "parts": [part],
    }
    parse(exposition(health).encode(errors="replace").decode())


def test_every_metric_is_documented_and_no_other() -> None:
    root = Path(__file__).parents[2]
    told = re.findall(r"^\| `(nims_\w+)` \|", (root / "docs/health.md").read_text("utf-8"), flags=re.MULTILINE)
    known = re.findall(r'"(nims_\w+)"', Path(prometheus.__file__).read_text("utf-8"))
    assert sorted(told) == sorted(set(known))
