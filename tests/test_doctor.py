"""The doctor sees what is wrong, and says what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nims_appliance import doctor
from nims_appliance.config.store import ConfigStore
from nims_appliance.data_folder import lock_data
from nims_appliance.plugin_host.host import PluginHost
from nims_appliance.settings import WebSettings


def examine(data: Path) -> dict[str, doctor.Finding]:
    plugins = PluginHost.load(data)
    findings = doctor.examine(data, plugins, ConfigStore.load(data, plugins=plugins))
    return {finding.name: finding for finding in findings}


def test_every_finding_that_is_not_ok_says_what_to_do(tmp_path):
    (tmp_path / "config.yaml").write_text("web: {prot: 1}\n")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "bad.py").write_text("raise RuntimeError('x')\n")
    findings = examine(tmp_path)
    assert (findings["config"].level, findings["plugins"].level) == ("fail", "fail")
    assert "config.yaml:1: web.prot" in findings["config"].text
    assert "bad: cannot be loaded" in findings["plugins"].text
    assert [finding.name for finding in findings.values() if (finding.level == "ok") == bool(finding.remedy)] == []


def test_no_sonar_is_a_warning(tmp_path):
    assert examine(tmp_path)["config"].level == "warn"


def test_data_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (finding,) = doctor.check_data_folder(tmp_path / "file")
    assert finding.level == "fail"
    assert "--data DIR" in finding.remedy


@pytest.mark.parametrize(("free", "level"), [(10**8, "fail"), (10**9, "warn"), (10**11, "ok")])
def test_free_disk(tmp_path, monkeypatch, free, level):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free}))
    _, disk = doctor.check_data_folder(tmp_path)
    assert disk.level == level


@pytest.mark.parametrize(("year", "level"), [(1970, "fail"), (2000, "fail"), (2026, "ok")])
def test_clock_that_has_lost_its_time(year, level):
    assert doctor.check_clock_year(time.mktime((year, 6, 1, 0, 0, 0, 0, 0, 0))).level == level


@pytest.mark.parametrize(
    ("status", "level"), [(None, "warn"), (0x40, "warn"), (0x41, "warn"), (0x2001, "ok"), (0, "ok")]
)
def test_clock_discipline(status, level):
    assert doctor.check_clock_synchronised(status).level == level


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="adjtimex is Linux")
def test_clock_status_is_read_where_the_kernel_puts_it(tmp_path):
    """The witness is a C program, whose compiler knows struct timex."""
    source = "#include <stdio.h>\n#include <sys/timex.h>\n"
    source += 'int main(void) { struct timex t = {0}; adjtimex(&t); printf("%d", t.status); return 0; }\n'
    program = tmp_path / "status"
    subprocess.run(["gcc", "-x", "c", "-", "-o", program], input=source, text=True, check=True, timeout=60)
    printed = subprocess.run([program], capture_output=True, text=True, check=True, timeout=60).stdout
    assert doctor.read_clock_status() in (int(printed), None)


@pytest.mark.parametrize(
    ("text", "level"), [("212992\n", "warn"), ("4194304\n", "ok"), ("nonsense", "warn"), (None, "warn")]
)
def test_udp_buffer_limit(tmp_path, text, level):
    limit = tmp_path / "rmem_max"
    if text is not None:
        limit.write_text(text)
    finding = doctor.check_udp_buffer(limit)
    assert finding.level == level
    assert ("sysctl -w net.core.rmem_max=4194304" in finding.remedy) == (text == "212992\n")


def test_running_appliance_is_seen_and_its_ports_are_not_missed(tmp_path):
    with lock_data(tmp_path):
        findings = examine(tmp_path)
        assert f"process {os.getpid()}" in findings["appliance"].text
        assert "web.port" not in findings
    assert "appliance" not in examine(tmp_path)


def test_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert doctor.check_port("web", WebSettings(host="127.0.0.1", port=port)).level == "fail"
    assert doctor.check_port("web", WebSettings(host="127.0.0.1", port=port)).level == "ok"


def test_the_address_that_is_chosen_by_itself_is_tried(tmp_path):
    (tmp_path / "config.yaml").write_text("web: {port: 0}\n")
    assert examine(tmp_path)["web.port"].level == "ok"


def test_wrong_python(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 0, "final", 0))
    assert doctor.check_python().level == "fail"
