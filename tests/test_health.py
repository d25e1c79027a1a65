"""Health: the state of every part in one place, whatever one of them does."""

from __future__ import annotations

from typing import Any

from nims_appliance.health import Health


def test_counters_that_fail_hide_no_other_part(caplog) -> None:
    def broken() -> dict[str, Any]:
        raise AttributeError("the vendor's mistake")

    health = Health()
    health.part("bad").statistics = broken
    health.part("good").statistics = lambda: {"pings": 3}
    for _ in range(3):
        bad, good = health.snapshot()["parts"]
        assert (bad["name"], bad["statistics"]) == ("bad", {})
        assert bad["last_error"] == "statistics: AttributeError: the vendor's mistake"
        assert (good["statistics"], good["last_error"]) == ({"pings": 3}, "")
    assert len(caplog.records) == 1, "said once, not at every look"


def test_one_failed_part_is_enough_not_to_be_well() -> None:
    health = Health()
    health.part("a").set("running")
    health.part("b").set("waiting", "for the sonar")
    assert health.snapshot()["ok"]
    health.part("b").set("failed", "broken")
    assert not health.snapshot()["ok"]
    health.remove("b")
    assert health.snapshot()["ok"]
