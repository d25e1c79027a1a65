"""What the documents say is what the appliance does."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from pathlib import Path

import pytest

from nims_appliance import hookspecs
from nims_appliance.cli import _COMMANDS, nims
from nims_appliance.config.store import ConfigStore
from nims_appliance.config.yaml import dump_document
from nims_appliance.frame import Arrival
from nims_appliance.links.address import parse_link
from nims_appliance.pipeline.display import DisplayEncoder
from nims_appliance.plugin_host.host import PluginHost, make_decoder_context
from nims_appliance.profile import Profile, load_profile
from nims_appliance.settings import ApplianceSettings, SonarSettings

DOCS = Path(__file__).parent.parent / "docs"
OWN = ("configuration.md", "plugins.md", "profiles.md", "hooks.md")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / name).read_text(), flags=re.MULTILINE | re.DOTALL)


def hooks() -> dict[str, object]:
    return {name: value for name, value in vars(hookspecs).items() if name.startswith("nims_")}


def test_every_hook_is_documented_with_its_signature():
    headings = re.findall(r"^## (.*)$", (DOCS / "hooks.md").read_text(), flags=re.MULTILINE)
    expected = [f"{name}{inspect.signature(hook, eval_str=False)}".replace("'", "") for name, hook in hooks().items()]
    assert headings == expected


def test_every_hook_has_an_example_that_is_python():
    text = "\n".join(blocks("hooks.md", "python"))
    compile(text, "hooks.md", "exec")
    assert all(f"@hookimpl\ndef {name}()" in text for name in hooks())


def settings_section() -> str:
    """Return the tables of all settings, as docs/configuration.md has to have them."""
    plugins = PluginHost()
    schema = ConfigStore.load(Path("/nonexistent"), plugins=plugins).schema()
    lines: list[str] = []

    def table(title: str, name: str) -> None:
        definition = schema["$defs"][name]
        entries = definition["properties"].items()
        nested = {key: entry["$ref"] for key, entry in entries if "$ref" in entry}
        named = {key: entry["additionalProperties"]["$ref"] for key, entry in entries if _is_named(entry)}
        lines.extend(
            [f"### {title}", "", definition["description"], "", "| key | default | meaning |", "|---|---|---|"]
        )
        for key, entry in definition["properties"].items():
            if key in nested or key == "sonars":
                continue
            default = dump_document({"x": entry["default"]}).strip()[3:].strip() if "default" in entry else "(needed)"
            bounds = [f"{sign} {entry[word]:g}" for word, sign in BOUNDS if word in entry]
            meaning = entry["description"] + (f" ({', '.join(bounds)})" if bounds else "")
            shown = default if default == "(needed)" else f"`{default}`"
            lines.append(f"| `{key}` | {shown} | {meaning} |")
        lines.append("")
        prefix = title.strip("`")
        for key, reference in nested.items():
            table(f"`{prefix}.{key}`", reference.rpartition("/")[2])
        for key, reference in named.items():
            table(f"`{prefix}.{key}.<{key.removesuffix('s')}>`", reference.rpartition("/")[2])

    table("`sonars.<name>`", "SonarSettings")
    table("`web`", "WebSettings")
    table("`tracks`", "TrackServerSettings")
    table("`navigation`", "NavigationSettings")
    table("`recording`", "RecordingSettings")
    table("`clips`", "ClipSettings")
    table("`storage`", "StorageSettings")
    table("`triggers.<name>`", "TriggerSettings")
    return "\n".join(lines)


def _is_named(entry: dict) -> bool:
    """Whether a setting holds structs by name."""
    return "$ref" in (entry.get("additionalProperties") or {})


BOUNDS = (("minimum", "at least"), ("exclusiveMinimum", "above"), ("maximum", "at most"), ("exclusiveMaximum", "below"))


def test_every_setting_is_in_the_document_as_it_is_in_the_code():
    document = (DOCS / "configuration.md").read_text()
    start = document.index("### ")
    assert document[start:] == settings_section(), "run `python tests/test_docs.py` to write the section anew"


def test_every_key_of_a_profile_is_documented():
    text = (DOCS / "profiles.md").read_text()
    assert [key for key in Profile.__struct_fields__ if f"| `{key}` |" not in text] == []


@pytest.mark.parametrize("text", blocks("profiles.md", "yaml"))
def test_profiles_in_the_document_are_valid(tmp_path, text):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "example.yaml").write_text(text)
    host = PluginHost.load(tmp_path)
    assert host.errors == []
    assert load_profile(text, "x").name in host.profiles


def test_described_sonar_in_the_document_decodes_its_packets(tmp_path):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "example.yaml").write_text(blocks("profiles.md", "yaml")[1])
    host = PluginHost.load(tmp_path)
    profile = host.profile("acme-ping")
    driver = host.driver(profile)
    decoder = driver.stream(make_decoder_context(profile, SonarSettings(profile=profile.name, link=""), driver))
    packet = b"PING" + (7).to_bytes(4, "big") + bytes(range(64)) * 200
    frames = decoder.decode(memoryview(packet * 2), Arrival(0.0, 0.0)).frames
    frames += decoder.finish(Arrival(0.0, 0.0))
    assert frames[0].check().ping_number == 7
    assert frames[0].intensity.shape == (200, 64)
    assert frames[0].intensity[0].tolist() == [value**2 for value in range(64)]


def test_configuration_in_the_document_is_valid(tmp_path):
    (text,) = blocks("configuration.md", "yaml")
    (tmp_path / "config.yaml").write_text(text)
    store = ConfigStore.load(tmp_path, plugins=PluginHost.load(None))
    assert (store.errors, list(store.current.sonars)) == ([], ["pen"])
    assert isinstance(store.current, ApplianceSettings)


def test_links_in_the_document_are_understood():
    text = (DOCS / "configuration.md").read_text()
    links = re.findall(r"^\| `(\w+:[^`]+)` \|", text, flags=re.MULTILINE)
    assert len(links) == 4
    for link in links:
        parse_link(link.replace("port", "5000"))


def test_plugin_and_its_test_in_the_document_work(tmp_path, monkeypatch):
    plugin, test = blocks("plugins.md", "python")
    (tmp_path / "acme.py").write_text(plugin)
    monkeypatch.chdir(tmp_path)
    names = {
        "shutil": shutil,
        "PluginHost": PluginHost,
        "make_decoder_context": make_decoder_context,
        "SonarSettings": SonarSettings,
        "Arrival": Arrival,
    }
    exec(compile(textwrap.dedent(test), "plugins.md", "exec"), names)
    names["test_plugin_is_loaded_and_decodes"](tmp_path)


def test_pings_of_the_plugin_in_the_document_can_be_drawn(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "acme.py").write_text(blocks("plugins.md", "python")[0])
    host = PluginHost.load(tmp_path)
    profile = host.profile("acme-2")
    driver = host.driver(profile)
    decoder = driver.stream(make_decoder_context(profile, SonarSettings(profile="acme-2", link=""), driver))
    (frame,) = decoder.decode(memoryview(b"ACME\x02\x00\x01\x02\x03\x04"), Arrival(0.0, 0.0)).frames
    assert DisplayEncoder().encode(frame.stamped("test", 1, Arrival(0.0, 0.0))).payload


def test_plugin_in_the_document_survives_garbage(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "acme.py").write_text(blocks("plugins.md", "python")[0])
    host = PluginHost.load(tmp_path)
    profile = host.profile("acme-2")
    driver = host.driver(profile)
    decoder = driver.stream(make_decoder_context(profile, SonarSettings(profile="acme-2", link=""), driver))
    packet = b"ACME\x02\x00\x01\x02\x03\x04"
    data = b"noise AC" + packet + b"ACME\xff\xff" + packet + b"ACM"
    frames = []
    while data:
        decoded = decoder.decode(memoryview(data), Arrival(0.0, 0.0))
        frames += decoded.frames
        if not decoded.consumed:
            break
        data = data[decoded.consumed :]
    assert len(frames) == 2
    assert sum(decoder.statistics.errors.values()) == 1


@pytest.mark.parametrize("name", OWN)
def test_commands_in_the_documents_exist(name):
    found = re.findall(
        r"(?:^    |`)nims ((?:[a-z]+ ?)+)((?:--[a-z-]+)?)", (DOCS / name).read_text(), flags=re.MULTILINE
    )
    for words, _ in found:
        command, *rest = words.split()
        assert command in _COMMANDS, command
        if command == "config" and rest:
            assert rest[0] in nims.get_command(None, "config").commands


@pytest.mark.parametrize("name", OWN)
def test_links_between_documents_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)", (DOCS / name).read_text()):
        assert "://" in target or (DOCS / target).is_file()


if __name__ == "__main__":
    path = DOCS / "configuration.md"
    text = path.read_text()
    path.write_text(text[: text.index("### ")] + settings_section())
