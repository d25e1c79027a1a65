"""What `link:` may say."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nims_appliance.errors import LinkError
from nims_appliance.links import FileLink, SimulatorLink, TcpLink, UdpLink, parse_link


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp://10.0.0.5:20001", TcpLink("10.0.0.5", 20001)),
        ("tcp://m3-host.local:20001/", TcpLink("m3-host.local", 20001)),
        ("tcp://[::1]:20001", TcpLink("::1", 20001)),
        ("tcp://[fe80::1%25eth0]:20001", TcpLink("fe80::1%eth0", 20001)),
        ("TCP://host:1", TcpLink("host", 1)),
        (" tcp://host:65535 ", TcpLink("host", 65535)),
        ("udp://:2020", UdpLink("", 2020)),
        ("udp://0.0.0.0:2020", UdpLink("", 2020)),
        ("udp://10.0.0.5:2020", UdpLink("10.0.0.5", 2020)),
        ("udp://239.1.2.3:2020?bind=10.0.0.1", UdpLink("239.1.2.3", 2020, "10.0.0.1")),
        ("file:///data/a.imb", FileLink(Path("/data/a.imb"))),
        ("file:/data/a.imb", FileLink(Path("/data/a.imb"))),
        ("file://localhost/data/a.imb", FileLink(Path("/data/a.imb"))),
        ("file:data/a.imb?speed=0&loop=yes", FileLink(Path("data/a.imb"), 0.0, True)),
        ("file:///data/pen/?step=yes", FileLink(Path("/data/pen"), paused=True)),
        ("file:///a%20b%3Fc%25.imb?speed=2.5&loop=no", FileLink(Path("/a b?c%.imb"), 2.5, False)),
        ("file:///a#b.imb", FileLink(Path("/a#b.imb"))),
        ("simulator:kongsberg-m3", SimulatorLink("kongsberg-m3")),
        (
            "simulator:kongsberg-m3?rate=40&beams=256&samples=1500&seed=7",
            SimulatorLink("kongsberg-m3", 40.0, 256, 1500, 7),
        ),
    ],
)
def test_links_mean_what_they_say(text: str, expected: object) -> None:
    assert parse_link(text) == expected


def test_a_tilde_is_the_home_folder(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/operator")
    assert parse_link("file:~/a.imb") == FileLink(Path("/home/operator/a.imb"))
    assert parse_link("file://~/a.imb") == FileLink(Path("/home/operator/a.imb"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected tcp://host:port, udp://"),
        ("10.0.0.5:20001", "expected tcp://host:port"),
        ("tpc://10.0.0.5:20001", "'tpc://10.0.0.5:20001': expected tcp://host:port"),
        ("tcp:10.0.0.5:20001", "expected // after the colon"),
        ("tcp://10.0.0.5", "expected a port from 1 to 65535, as in tcp://10.0.0.5:20001"),
        ("tcp://10.0.0.5:0", "expected a port"),
        ("tcp://10.0.0.5:70000", "expected host:port"),
        ("tcp://10.0.0.5:abc", "expected host:port"),
        ("tcp://:20001", "expected the sonar's address"),
        ("tcp://[::1:20001", "expected host:port"),
        ("tcp://host:1/path", "nothing but host:port"),
        ("tcp://user:secret@host:1", "nothing but host:port"),
        ("tcp://host:1?speed=1", "unknown option 'speed': expected no options"),
        ("udp://", "expected a port"),
        ("file:", "expected the path of a recording"),
        ("file:///", "expected the path of a recording"),
        ("file://recordings/a.imb", r"expected file:///absolute/path \(three slashes\) or, .* file:recordings/a.imb"),
        ("file:///a?speed=fast", "option speed='fast': expected a number, 0 or more"),
        ("file:///a?speed=-1", "expected 0"),
        ("file:///a?speed=nan", "expected a number"),
        ("file:///a?loop=maybe", "expected yes or no"),
        ("file:///a?loop=yes&loop=no", "'loop' is given twice"),
        ("file:///a?sped=1", "unknown option 'sped': expected only speed, loop"),
        ("simulator:", "expected a profile's name"),
        ("simulator:m3?rate=0", "more than 0"),
        ("simulator:m3?beams=1.5", "a whole number"),
        ("simulator:m3?beams=1025", "a whole number from 1 to 1024"),
        ("simulator:m3?samples=99999999999999999999", "a whole number from 1 to 30000"),
        ("simulator:m3?beams=1024&samples=30000", "beams x samples of at most"),
        ("serial://ttyUSB0", "expected the path of a serial line"),
    ],
)
def test_a_wrong_link_says_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(LinkError, match=message):
        parse_link(text)


@given(st.text(max_size=60) | st.from_regex(r"(tcp|udp|file|simulator)://?\S{0,30}", fullmatch=True))
def test_no_text_does_worse_than_a_link_error(text: str) -> None:
    with contextlib.suppress(LinkError):
        parse_link(text)


@pytest.mark.parametrize(
    "text",
    ["tcp://10.0.0.5:20001", "tcp://[::1]:20001", "udp://10.0.0.5:2020", "udp://:2020", "simulator:kongsberg-m3"],
)
def test_a_link_reads_as_it_was_written(text: str) -> None:
    assert str(parse_link(text)) == text
