"""Listening sockets: any free port, every address of a host, and one sentence when it cannot be."""

from __future__ import annotations

import socket

import pytest

from nims_appliance.errors import ConfigError
from nims_appliance.listening import bind, interface_addresses, network_urls, opened, url
from nims_appliance.settings import TrackServerSettings, WebSettings


def test_port_zero_is_any_free_one_on_every_address() -> None:
    sockets = bind(WebSettings(host="localhost", port=0), "web")
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
        assert all(url("http", sock).startswith("http://") for sock in sockets)
    finally:
        for sock in sockets:
            sock.close()


def test_a_port_in_use_says_who_to_look_for_and_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as raised:
            bind(TrackServerSettings(port=port), "tracks")
    text = str(raised.value)
    assert text.startswith(f"port {port} is in use")
    assert "--tracks-port or tracks.port in config.yaml" in text


def test_an_address_of_another_computer_is_named() -> None:
    with pytest.raises(ConfigError, match=r"web\.host: 192\.0\.2\.1 is not an address of this computer"):
        bind(WebSettings(host="192.0.2.1", port=0), "web")


def test_a_host_that_does_not_exist_is_named(monkeypatch) -> None:
    def getaddrinfo(*args, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(ConfigError, match=r"web\.host: cannot find 'nowhere': Name or service not known"):
        bind(WebSettings(host="nowhere", port=0), "web")


def test_all_addresses_are_reached_as_localhost() -> None:
    (sock,) = bind(WebSettings(host="0.0.0.0", port=0), "web")
    with sock:
        assert url("http", sock) == f"http://localhost:{sock.getsockname()[1]}"


def test_the_network_is_let_near_once_somebody_can_log_in() -> None:
    automatic = WebSettings()
    assert opened(automatic, users=False).host == "127.0.0.1"
    assert opened(automatic, users=True).host == "0.0.0.0"
    for host in ("127.0.0.1", "192.0.2.1"):
        assert opened(WebSettings(host=host), users=True).host == host


def test_other_computers_are_told_addresses_that_lead_here() -> None:
    (everywhere,) = bind(WebSettings(host="0.0.0.0", port=0), "web")
    (here,) = bind(WebSettings(host="127.0.0.1", port=0), "web")
    with everywhere, here:
        port = everywhere.getsockname()[1]
        *addresses, name = network_urls("http", everywhere)
        assert name.endswith(f".local:{port}")
        assert addresses == [f"http://{address}:{port}" for address in interface_addresses()]
        assert not any("127." in address for address in addresses)
        assert network_urls("http", here) == []
