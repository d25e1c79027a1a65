"""Vital signs: clocks that were set, disks that fill, and what the kernel tells."""

from __future__ import annotations

import math
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from nims_appliance import vitals
from nims_appliance.health import Health
from nims_appliance.vitals import ClockWatch, DiskWatch, Vitals


def test_a_system_clock_that_is_set_is_told_with_its_step() -> None:
    watch = ClockWatch()
    assert watch.look_at_system(1000.0, 5.0) is None
    assert watch.look_at_system(1001.0, 6.0) is None
    step = watch.look_at_system(1001.0 + 1 - 3600, 7.0)
    assert step is not None
    assert (step.clock, step.step_s) == ("system", pytest.approx(-3600))
    assert watch.look_at_system(1002.0 + 1 - 3600, 8.0) is None, "told once"
    assert watch.system_steps == 1


@given(st.lists(st.floats(-5e-4, 5e-4), max_size=50))
def test_a_clock_that_is_slewed_makes_no_step(slews_s: list[float]) -> None:
    watch = ClockWatch()
    utc_s = 1000.0
    for look, slew_s in enumerate(slews_s):
        assert watch.look_at_system(utc_s, float(look)) is None
        utc_s += 1 + slew_s


def _look(watch: ClockWatch, looks: list[tuple[float, float]]) -> list[float]:
    """Return the steps found in (time of the ping, its arrival)."""
    found = [watch.look_at_sonar("pen", time_s, arrived_s, 0.0) for time_s, arrived_s in looks]
    return [step.step_s for step in found if step]


def test_a_sonar_clock_that_jumps_is_told_once() -> None:
    watch = ClockWatch()
    before = [(100.0 + n, float(n)) for n in range(5)]
    after = [(40.0 + n, float(n)) for n in range(5, 12)]
    assert _look(watch, before + after) == [pytest.approx(-60)]
    assert watch.sonar_steps == {"pen": 1}
    watch.forget(set())
    assert watch.sonar_steps == {}


def test_a_ping_that_comes_late_is_no_step() -> None:
    watch = ClockWatch()
    assert _look(watch, [(100.0, 0.0), (101.0, 3.5), (104.0, 4.0), (105.0, 5.0)]) == []


def test_a_sonar_that_falls_silent_after_a_late_ping_is_no_step() -> None:
    """The same ping is looked at again and again; it confirms nothing."""
    watch = ClockWatch()
    assert _look(watch, [(100.0, 0.0)] + [(101.0, 9.0)] * 10) == []


def test_a_disk_that_fills_tells_when_it_is_full() -> None:
    disk = DiskWatch()
    for now_s in range(0, 600, 15):
        disk.look(1_000_000_000 - 10_000 * now_s, 4_000_000_000, now_s)
    assert disk.filling_bytes_s == pytest.approx(10_000)
    assert disk.left_s == pytest.approx((1_000_000_000 - 10_000 * 585) / 10_000)


def test_a_disk_that_was_emptied_or_is_new_tells_no_end() -> None:
    disk = DiskWatch()
    assert (disk.filling_bytes_s, disk.left_s) == (None, None)
    disk.look(1000, 2000, 0)
    disk.look(500, 2000, 15)
    assert disk.left_s is None, "too early to tell"
    disk.look(1500, 2000, 600)
    assert disk.filling_bytes_s == pytest.approx(-500 / 600)
    assert disk.left_s is None


def test_the_rate_of_filling_is_that_of_the_last_hour() -> None:
    disk = DiskWatch()
    for now_s in range(0, 7200, 15):
        free = 10**12 - (10**6 * now_s if now_s < 3600 else 10**6 * 3600)
        disk.look(free, 2 * 10**12, now_s)
    assert disk.filling_bytes_s == pytest.approx(0, abs=10**6 * 30 / 3600)


def test_what_the_kernel_tells_of_its_clock() -> None:
    synchronised, error_s = vitals.kernel_clock()
    assert synchronised in (True, False, None)
    assert error_s is None or 0 <= error_s < 1e5
    assert (error_s is None) == (not synchronised)


async def test_the_parts_of_a_running_appliance(tmp_path: Path, autojump_clock, monkeypatch) -> None:
    health = Health()
    settings = SimpleNamespace(link="tcp://10.0.0.5:1")
    frame = SimpleNamespace(time_s=1000.0, received_utc_s=1000.25, received_monotonic_s=5.0)
    sonars = {"pen": SimpleNamespace(last_frame=frame, settings=settings)}
    ahead_s = 1000.0
    monkeypatch.setattr(vitals, "STEP_WARNING_S", 10.0)
    monkeypatch.setattr(vitals.time, "time", lambda: trio.current_time() + ahead_s)
    monkeypatch.setattr(vitals.time, "monotonic", trio.current_time)
    async with trio.open_nursery() as nursery:
        watch = Vitals(tmp_path, health, lambda: sonars)
        nursery.start_soon(watch.run)
        await trio.sleep(3.5)
        ahead_s += 7200
        await trio.sleep(1)
        clock, disk, process = (health.part(name) for name in ("clock", "disk", "process"))
        assert clock.count()["system_steps"] == 1
        assert clock.count()["sonar_offset_s"] == {"pen": pytest.approx(0.25)}
        assert "forward by 7200.0 s" in clock.warning
        await trio.sleep(10)
        assert clock.warning == "", "told for so long, not for ever"
        while disk.state == "starting":  # its look is a real one, in a thread
            await trio.to_thread.run_sync(os.stat, tmp_path)
        usage = os.statvfs(tmp_path)
        assert disk.count()["total_bytes"] == usage.f_blocks * usage.f_frsize
        assert 0 < disk.count()["free_bytes"] < disk.count()["total_bytes"]
        counted = process.count()
        assert counted["resident_bytes"] > 10e6
        assert counted["open_files"] > 2
        assert math.isfinite(counted["load_1min"])
        nursery.cancel_scope.cancel()


async def test_a_data_folder_that_is_gone_fails_the_disk_and_nothing_else(tmp_path: Path, autojump_clock) -> None:
    health = Health()
    folder = tmp_path / "unplugged"
    disk = health.part("disk")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Vitals(folder, health, dict).run)
        while disk.state != "failed":
            await trio.to_thread.run_sync(os.stat, tmp_path)
        assert str(folder) in disk.last_error
        assert health.part("clock").state == "running"
        folder.mkdir()
        await trio.sleep(vitals.DISK_INTERVAL_S)
        while disk.state != "running":
            await trio.to_thread.run_sync(os.stat, tmp_path)
        nursery.cancel_scope.cancel()
