"""The last records of the log: bounded, numbered, and without secrets."""

from __future__ import annotations

import logging

import pytest

from nims_appliance.recent_log import KEPT_RECORDS, MAX_CHARACTERS, RecentLog, without_secrets


@pytest.fixture
def logger():
    log = logging.Logger("nims_appliance.test", logging.DEBUG)
    recent = RecentLog()
    log.addHandler(recent)
    return log, recent


def test_only_the_last_records_are_kept(logger) -> None:
    log, recent = logger
    for number in range(KEPT_RECORDS + 7):
        log.info("record %d", number)
    records = recent.records()
    assert [record.number for record in records] == list(range(8, KEPT_RECORDS + 8))
    assert records[-1].text == f"record {KEPT_RECORDS + 6}"
    assert [record.number for record in recent.records(after=KEPT_RECORDS + 5)] == [KEPT_RECORDS + 6, KEPT_RECORDS + 7]


def test_records_of_a_level_and_above(logger) -> None:
    log, recent = logger
    log.debug("unseen")
    log.info("one")
    log.warning("two")
    log.error("three")
    assert [record.text for record in recent.records(least_level="warning")] == ["two", "three"]
    assert recent.counts == {"WARNING": 1, "ERROR": 1}
    with pytest.raises(ValueError, match="got 'LOUD'"):
        recent.records(least_level="LOUD")


def test_a_defect_brings_its_traceback(logger) -> None:
    log, recent = logger
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError:
        log.exception("pen: defect")
    text = recent.records()[0].text
    assert text.startswith("pen: defect\nTraceback")
    assert text.endswith("ZeroDivisionError: by zero")


def test_a_record_that_cannot_be_formatted_is_kept_as_it_is(logger) -> None:
    log, recent = logger
    log.info("%d pings", "many")
    assert recent.records()[0].text == "%d pings"


def test_a_flood_of_text_is_cut(logger) -> None:
    log, recent = logger
    log.info("x" * 10**6)
    assert len(recent.records()[0].text) == MAX_CHARACTERS + len(" ...")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mqtt://nims:hunter2@broker:1883/x", "mqtt://***@broker:1883/x"),
        ("password=hunter2 was wrong", "password=*** was wrong"),
        ('{"token": "abc def", "n": 1}', '{"token": ***, "n": 1}'),
        ("Api-Key: 1234", "Api-Key: ***"),
        ("tcp://10.0.0.5:20001?rate=10", "tcp://10.0.0.5:20001?rate=10"),
        ("the sonar at user@host", "the sonar at user@host"),
    ],
)
def test_secrets_do_not_show(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
