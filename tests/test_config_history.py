"""Who changed which setting and when; and changes that are taken back."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from nims_appliance.config import history as history_module
from nims_appliance.config.history import HISTORY_FILE, History, Row
from nims_appliance.config.store import ChangeError, ConfigStore
from nims_appliance.errors import ConfigError
from nims_appliance.plugin_host.host import PluginHost

PEN = """\
sonars:
  pen: {profile: kongsberg-m3, link: tcp://10.0.0.5:20001}
"""
MIN = "sonars.pen.detector.min_range_m"
MAX = "sonars.pen.detector.max_range_m"


@pytest.fixture(scope="module")
def plugins() -> PluginHost:
    return PluginHost.load(None)


@pytest.fixture
def load(tmp_path: Path, plugins: PluginHost):
    def load(text: str | None = None, **options: Any) -> ConfigStore:
        if text is not None:
            (tmp_path / "config.yaml").write_text(text)
        store = ConfigStore.load(tmp_path, plugins=plugins, **options)
        assert store.errors == []
        return store

    return load


def _told(store: ConfigStore) -> list[tuple]:
    return [
        (entry.author, entry.source, [(row.key, row.old, row.new) for row in entry.rows])
        for entry in store.history.entries
    ]


async def test_a_change_is_kept_with_its_author_and_values(load) -> None:
    store = load(PEN)
    await store.change({MIN: 2.5}, "anna", source="browser")
    await store.change({MIN: 3.0, "web.picture_rate_hz": 4.0}, "token logger")
    expected = [
        ("anna", "browser", [(MIN, 0.0, 2.5)]),
        ("token logger", "API", [(MIN, 2.5, 3.0), ("web.picture_rate_hz", 10.0, 4.0)]),
    ]
    assert _told(store) == expected
    assert _told(load()) == expected, "after a restart"
    assert [entry.number for entry in load().history.entries] == [1, 2]


async def test_a_refused_change_is_not_in_the_history(load) -> None:
    store = load(PEN)
    with pytest.raises(ConfigError):
        await store.change({MIN: -4}, "anna")
    assert store.history.entries == []


async def test_a_change_is_taken_back_and_done_again(load) -> None:
    store = load(PEN)
    await store.change({MIN: 2.5}, "anna", source="browser")
    await store.undo(1, "ben", source="browser")
    assert store.sonar("pen").detector.min_range_m == 0.0
    assert store.origin(MIN) == "default"
    assert (store.history.entries[-1].author, store.history.entries[-1].undoes) == ("ben", 1)
    await store.undo(2, "anna")
    assert store.sonar("pen").detector.min_range_m == 2.5
    await store.undo(3, "anna")
    assert store.sonar("pen").detector.min_range_m == 0.0


async def test_a_change_of_what_was_overridden_before_goes_back_to_that(load) -> None:
    store = load(PEN)
    await store.change({MIN: 2.5}, "anna")
    await store.change({MIN: None}, "ben")
    await store.undo(2, "anna")
    assert store.sonar("pen").detector.min_range_m == 2.5


async def test_sonars_that_were_added_or_removed_come_and_go_whole(load) -> None:
    store = load(PEN)
    await store.change({"sonars.dam.profile": "blueprint-oculus", "sonars.dam.link": "tcp://10.0.0.9:52100"}, "anna")
    await store.change({"sonars.dam.detector.min_range_m": 1.5}, "anna")
    await store.change({"sonars.dam": None}, "ben")
    assert set(store.current.sonars) == {"pen"}
    await store.undo(3, "anna")
    assert store.sonar("dam").detector.min_range_m == 1.5
    await store.undo(2, "anna")
    await store.undo(1, "anna")
    assert set(store.current.sonars) == {"pen"}


async def test_what_was_changed_again_since_is_not_taken_back(load) -> None:
    store = load(PEN)
    await store.change({MIN: 2.5}, "anna")
    await store.change({MIN: 3.5}, "ben")
    with pytest.raises(ConfigError, match=f"change 1: {MIN} was changed again since"):
        await store.undo(1, "anna")
    await store.undo(2, "anna")
    await store.undo(1, "anna")
    assert store.sonar("pen").detector.min_range_m == 0.0
    with pytest.raises(ConfigError, match="change 77: not in the history"):
        await store.undo(77, "anna")


async def test_taking_back_is_checked_like_any_change(load) -> None:
    """Back to a far end of 40 m is right only as long as the near end is below it."""
    store = load(PEN)
    await store.change({MAX: 40.0}, "anna")
    await store.change({MAX: 80.0}, "anna")
    await store.change({MIN: 60.0}, "ben")
    with pytest.raises(ChangeError, match="min_range_m must be below max_range_m"):
        await store.undo(2, "anna")
    assert store.sonar("pen").detector.max_range_m == 80.0


async def test_edits_of_the_files_are_noticed_at_the_next_start(load, tmp_path: Path) -> None:
    assert load(PEN, command_line={"web.port": 8081}).notice_files() == [], "the first start: nothing to compare with"
    store = load(command_line={"web.port": 8081})
    assert store.notice_files() == []
    await store.change({MIN: 2.5}, "anna")
    assert load(command_line={"web.port": 8081}).notice_files() == [], "made by the appliance itself"
    edited = PEN.replace("}", ", detector: {max_range_m: 30}}")
    store = load(edited, command_line={"web.port": 8082})
    store.notice_files()
    assert _told(store)[1:] == [
        ("", "config.yaml", [(MAX, None, 30)]),
        ("", "command line", [("web.port", 8081, 8082)]),
    ]
    with pytest.raises(ConfigError, match=r"change 2: made in the config.yaml"):
        await store.undo(2, "anna")
    (tmp_path / "overrides.yaml").unlink()
    store = load(command_line={"web.port": 8082})
    store.notice_files()
    assert _told(store)[-1] == ("", "overrides.yaml", [(MIN, 2.5, None)])


async def test_an_edit_of_config_yaml_while_it_runs_is_seen(load, tmp_path: Path) -> None:
    store = load(PEN)
    assert not store.config_file_edited
    (tmp_path / "config.yaml").write_text(PEN + "# later\n")
    assert store.config_file_edited


async def test_who_saw_an_older_value_is_told(load) -> None:
    store = load(PEN)
    await store.change({MIN: 2.5}, "ben")
    with pytest.raises(ChangeError, match="somebody else") as raised:
        await store.change({MIN: 3.5, MAX: 50.0}, "anna", expected={MIN: 0.0, MAX: 1e6})
    assert set(raised.value.problems) == {MIN}
    assert store.sonar("pen").detector.min_range_m == 2.5
    await store.change({MIN: 3.5}, "anna", expected={MIN: 2.5})


async def test_two_at_once_who_saw_the_same_value_do_not_overwrite_each_other(load) -> None:
    store = load(PEN)
    refused = []

    async def change(value: float) -> None:
        try:
            await store.change({MIN: value}, f"page {value}", expected={MIN: 0.0})
        except ChangeError:
            refused.append(value)

    async with trio.open_nursery() as nursery:
        for value in (1.0, 2.0, 3.0):
            nursery.start_soon(change, value)
    assert len(refused) == 2
    assert store.sonar("pen").detector.min_range_m not in refused


def test_a_change_is_looked_at_before_it_is_saved(load, tmp_path: Path) -> None:
    store = load(PEN)
    preview = store.check({MIN: 2.5, "sonars.pen.mounting.inverted": True})
    assert preview.problems == {}
    assert [(row["key"], row["old"], row["new"], row["restart"]) for row in preview.rows] == [
        (MIN, 0.0, 2.5, ""),
        ("sonars.pen.mounting.inverted", False, True, "sonar"),
    ]
    assert store.sonar("pen").detector.min_range_m == 0.0
    assert not (tmp_path / "overrides.yaml").exists()


@pytest.mark.parametrize(
    ("changes", "key", "text"),
    [
        ({MIN: -4}, MIN, "expected a number >= 0"),
        ({MIN: 50, MAX: 40}, "sonars.pen.detector", "must be below"),
        ({"web.port": 1}, "web.port", "takes effect at the start only"),
        ({"web.picture_rate_hz": 4}, "web.picture_rate_hz", "held by the command line"),
        ({"..": 4}, "", "expected a key"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(load, changes: dict[str, Any], key: str, text: str) -> None:
    preview = load(PEN, command_line={"web.picture_rate_hz": 5}).check(changes)
    assert list(preview.problems) == [key]
    assert text in preview.problems[key]


def test_nothing_can_be_saved_in_safe_mode_and_the_check_says_so(tmp_path: Path, plugins: PluginHost) -> None:
    (tmp_path / "config.yaml").write_text("web: {port: [}")
    store = ConfigStore.load(tmp_path, plugins=plugins)
    assert any("config.yaml:1" in text for text in store.check({"web.picture_rate_hz": 4}).problems.values())


def test_the_history_is_bounded_by_entries(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(history_module, "MAX_ENTRIES", 20)
    history = History(tmp_path)
    for number in range(100):
        history.add("anna", "API", [Row("web.picture_rate_hz", number, number + 1)])
    kept = [entry.number for entry in History(tmp_path).entries]
    assert 20 <= len(kept) <= 25
    assert kept == list(range(101 - len(kept), 101)), "the newest, in order"


def test_the_history_is_bounded_by_bytes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(history_module, "MAX_BYTES", 20_000)
    history = History(tmp_path)
    for number in range(100):
        history.add("anna", "API", [Row("sonars.pen", "x" * 1000, "y" * 1000)])
        assert (tmp_path / HISTORY_FILE).stat().st_size <= 20_000, number
    assert History(tmp_path).entries[-1].number == 100


def test_a_torn_last_line_costs_that_line_alone(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number in range(3):
        history.add("anna", "API", [Row("k", number, number + 1)])
    file = tmp_path / HISTORY_FILE
    file.write_bytes(file.read_bytes()[:-10])
    again = History(tmp_path)
    assert [entry.number for entry in again.entries] == [1, 2]
    again.add("ben", "API", [Row("k", 5, 6)])
    assert [entry.author for entry in History(tmp_path).entries] == ["anna", "anna", "ben"]


async def test_a_disk_that_takes_no_history_refuses_no_change(load, monkeypatch, caplog) -> None:
    store = load(PEN)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(History, "_append", full)
    await store.change({MIN: 2.5}, "anna")
    assert store.sonar("pen").detector.min_range_m == 2.5
    assert [entry.author for entry in store.history.entries] == ["anna"], "told as long as the appliance runs"
    assert "cannot be written" in caplog.text
