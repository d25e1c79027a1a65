"""The charts page: the last hours from the archive, bins as they end, limits of alarms that an operator changes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from playwright.sync_api import Page, expect

from nims_appliance.alarms import watch_alarms
from nims_appliance.archive import Archive
from nims_appliance.context import Context
from nims_appliance.health import Part
from nims_appliance.pipeline.metrics import MetricsBin


def make_bin(end_s: float, sv_db: float = -60.0, **changes: Any) -> MetricsBin:
    names = ("sa_db", "center_of_mass_m", "inertia_m2", "equivalent_area_m", "aggregation_index_per_m")
    values: dict[str, Any] = dict.fromkeys(names, 1.0)
    values |= {"sonar_id": "pen", "channel": "", "ping_number": 1, "start_s": end_s - 4.5, "end_s": end_s, "pings": 5}
    values |= {"sv_db": sv_db, "calibrated": True, "proportion_occupied": 0.5, "layers": 1}
    return MetricsBin(**(values | changes))


@pytest.fixture
def filled(context: Context) -> Callable[..., None]:
    """Fills the archive of the context with bins."""

    def filled(*bins: MetricsBin) -> None:
        context.archive = archive = Archive(context.data, Part("archive"))
        archive._try_to_write([[], list(bins), [], []])
        archive._close()

    return filled


def readout(page: Page, quantity: str) -> str:
    return page.locator(f".chart[data-quantity={quantity}] .readout").inner_text()


def test_the_last_hour_is_charted_and_goes_on_live(context, filled, serving, open_page) -> None:
    end_s = time.time() - 5
    filled(*(make_bin(end_s - 5 * k, -60.0 - k / 10) for k in range(600)))
    with serving(context) as server:
        page = open_page(f"{server.url}charts", 1300, 800)
        expect(page.locator(".chart[data-quantity=sv_db] .readout")).to_have_text("−60.0 dB re 1 m⁻¹")
        page.wait_for_load_state("networkidle")
        server.call(context.metrics.publish, make_bin(end_s + 5, -47.25, layers=3))
        expect(page.locator(".chart[data-quantity=sv_db] .value")).to_have_text("−47.3")
        expect(page.locator(".chart[data-quantity=layers] .value")).to_have_text("3")
        # A recording that begins again changes nothing that is shown.
        server.call(context.metrics.publish, make_bin(end_s - 100, -10.0))
        page.wait_for_timeout(300)
        assert readout(page, "sv_db").startswith("−47.3")


def test_pointing_tells_the_values_of_all_charts_at_one_time(context, filled, serving, open_page) -> None:
    end_s = time.time() - 5
    filled(*(make_bin(end_s - 5 * k, -60.0 - k / 10, layers=k % 7) for k in range(700)))
    with serving(context) as server:
        page = open_page(f"{server.url}charts", 1300, 800)
        expect(page.locator(".chart[data-quantity=sv_db] .value")).to_have_text("−60.0")
        over = page.locator(".chart[data-quantity=sv_db] .u-over")
        box = over.bounding_box()
        over.hover(position={"x": box["width"] / 2, "y": 40})
        pointed = -float(page.locator(".chart[data-quantity=sv_db] .value").inner_text().replace("−", "")) + 0.0
        # Half of the hour is 360 bins of 5 s back.
        assert pointed == pytest.approx(-60.0 - 36.0, abs=0.3)
        number = round((-60.0 - pointed) * 10)
        expect(page.locator(".chart[data-quantity=layers] .value")).to_have_text(str(number % 7))


def test_a_drag_zooms_in_and_live_leads_back(context, filled, serving, open_page) -> None:
    end_s = time.time() - 5
    filled(*(make_bin(end_s - 5 * k) for k in range(700)))
    with serving(context) as server:
        page = open_page(f"{server.url}charts", 1300, 800)
        expect(page.locator(".chart[data-quantity=sv_db] .value")).to_have_text("−60.0")
        box = page.locator(".chart[data-quantity=sa_db] .u-over").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50, steps=4)
        page.mouse.up()
        expect(page.locator("#live")).to_have_attribute("aria-pressed", "false")
        expect(page).to_have_url(re.compile("from="))
        shown = page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")
        assert float(shown["to"]) - float(shown["from"]) == pytest.approx(900, abs=20)
        csv = page.locator("#csv").get_attribute("href")
        assert f"from={shown['from']}"[:12] in csv
        assert "format=csv" in csv
        page.keyboard.press("l")
        expect(page.locator("#live")).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("4")
        expect(page).to_have_url(re.compile("span=86400"))
        page.reload()
        expect(page.locator("#ranges button[value='86400']")).to_have_attribute("aria-pressed", "true")


def test_no_metrics_yet_is_said(context, serving, open_page) -> None:
    with serving(context) as server:
        page = open_page(f"{server.url}charts", 390, 800)
        expect(page.locator("#notice")).to_contain_text("No echo metrics yet")
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_silence_is_said(context, filled, serving, open_page) -> None:
    end_s = time.time() - 5
    filled(*(make_bin(end_s - 5 * k) for k in range(50)))
    with serving(context) as server:
        page = open_page("about:blank", 1300, 800)
        page.clock.install()
        page.goto(f"{server.url}charts")
        expect(page.locator(".chart[data-quantity=sv_db] .value")).to_have_text("−60.0")
        page.clock.fast_forward(42_000)
        expect(page.locator("#notice")).to_contain_text("pen: no data for 4")


def test_an_operator_adds_an_alarm_and_acknowledges_it(context, filled, serving, open_page, operator) -> None:
    end_s = time.time() - 5
    filled(*(make_bin(end_s - 5 * k) for k in range(50)))
    with serving(context) as server:
        server.call(trio.lowlevel.spawn_system_task, partial(watch_alarms, context))
        viewer = open_page(f"{server.url}charts", 1300, 800)
        page = open_page(f"{server.url}charts", 1300, 800, extra_http_headers=operator)
        page.get_by_role("button", name="Add", exact=True).click()
        dialog = page.locator("#alarm-dialog")
        dialog.get_by_label("Name").fill("many")
        dialog.get_by_label("this limit").fill("-50")
        dialog.get_by_label("for at least").fill("0")
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).not_to_be_visible()
        expect(page.locator("#alarms")).to_contain_text("many")
        server.call(context.metrics.publish, make_bin(end_s + 5, -40.0))
        for seen in (page, viewer):
            expect(seen.locator("#alarms li")).to_have_attribute("data-state", "raised")
            expect(seen.locator("#problems")).to_contain_text("many")
            expect(seen.locator(".chart[data-quantity=sv_db]")).to_have_class("chart raised")
        expect(viewer.get_by_role("button", name="Acknowledge")).not_to_be_visible()
        page.get_by_role("button", name="Acknowledge").click()
        expect(page.locator("#alarms li")).to_contain_text("seen by")
        for seen in (page, viewer):
            expect(seen.locator("#problems")).not_to_be_visible()
        server.call(context.metrics.publish, make_bin(end_s + 10, -60.0))
        expect(page.locator("#alarms li")).to_have_attribute("data-state", "ok")


@pytest.mark.parametrize("palette", ["day", "night"])
def test_lines_have_the_colours_of_the_palette(context, filled, serving, open_page, pixels, palette: str) -> None:
    end_s = time.time() - 5
    filled(*(make_bin(end_s - 5 * k, -60.0 - k % 9) for k in range(200)))
    with serving(context) as server:
        page = open_page(f"{server.url}charts", 1000, 700)
        expect(page.locator(".chart[data-quantity=sv_db] .value")).to_have_text("−60.0")
        page.locator(f".palettes [value={palette}]").check()
        rgb = pixels(page.locator(".chart[data-quantity=sv_db] .u-over"))
        if palette == "night":
            assert rgb[..., 1:].max() < 80, "red alone"
            assert rgb[..., 0].max() > 200
        else:
            assert rgb.mean() > 200
            assert (rgb.sum(axis=-1) < 300).sum() > 200, "a dark line"
