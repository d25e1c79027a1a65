"""YAML as operators write it: values, the line of every key, and all that is wrong with the file.

Stricter than YAML itself, because each of these has cost somebody a night: a key that is given twice is an error,
aliases and merge keys are refused (a few lines of them expand to gigabytes), ``no`` and ``1:30`` stay text, ``1e6`` is
a number, and numbers are finite. Plain scalars follow the core schema of YAML 1.2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str, ...]
"""The keys that lead to a value; items of lists are numbered: ("gains", "0")."""

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_DIGITS = 40

_TAG = "tag:yaml.org,2002:"
_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
)


class _Resolver:
    """The core schema in place of the one of YAML 1.1, for reading and for writing alike."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML wants it so


for _name, _pattern, _starts in _SCALARS:
    for _start in _starts:
        _Resolver.yaml_implicit_resolvers.setdefault(_start, []).append(
            (_TAG + _name, re.compile(rf"^(?:{_pattern})$"))
        )


class _Refused(yaml.YAMLError):
    """Valid YAML that has no place in a configuration."""

    def __init__(self, problem: str, event: yaml.Event) -> None:
        super().__init__(problem)
        self.line = event.start_mark.line + 1 if event.start_mark else 1


class _Loader(_Resolver, yaml.SafeLoader):
    """Composes nodes; refuses aliases and depth while it goes, before anything is built."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _Refused(f"aliases are not supported, got *{event.anchor}", event)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Refused(f"nested deeper than {MAX_DEPTH} levels", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(_Resolver, yaml.SafeDumper):
    """Quotes what `_Loader` would otherwise read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@dataclass(slots=True)
class Document:
    """One YAML file, or something that came in its place."""

    origin: str
    """For people: the file's name."""
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    """Of every key, counted from 1."""
    errors: list[str] = field(default_factory=list)
    """Each begins with origin and line. `values` has what could be read nevertheless."""

    def where(self, path: Path) -> str:
        """Return "config.yaml:12" for a path, or for the nearest key above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.origin}:{self.lines[path]}" if path else self.origin


def read_document(source: bytes | str, origin: str) -> Document:
    """Return what is in a YAML text whose top is a mapping; never raises for bad text.

    Keys are always text, also where YAML would read a number or a truth value. An empty text is an empty mapping.
    """
    document = Document(origin)
    if len(source) > MAX_BYTES:
        document.errors.append(f"{origin}: expected at most {MAX_BYTES // 1024} KiB, got more")
        return document
    try:
        text = source.decode("utf-8-sig") if isinstance(source, bytes) else source
    except UnicodeDecodeError as error:
        line = source[: error.start].count(b"\n") + 1  # type: ignore[arg-type]
        document.errors.append(
            f"{origin}:{line}: expected UTF-8 text, got the byte 0x{source[error.start]:02x}; save it as UTF-8"
        )
        return document
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except _Refused as refused:
        document.errors.append(f"{origin}:{refused.line}: {refused}")
        return document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        hint = "; indent with spaces" if "\\t" in problem else ""
        document.errors.append(f"{origin}:{mark.line + 1 if mark else 1}: {problem}{hint}")
        return document
    except yaml.YAMLError as error:  # a character that YAML does not allow; has a position, no mark
        position = getattr(error, "position", 0)
        document.errors.append(f"{origin}:{text[:position].count(chr(10)) + 1}: {str(error).splitlines()[0]}")
        return document
    finally:
        if loader is not None:
            loader.dispose()
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == _TAG + "null"):
        return document
    if not isinstance(root, yaml.MappingNode):
        document.errors.append(f"{origin}:{root.start_mark.line + 1}: expected keys and values, got {_describe(root)}")
        return document
    document.values = _build(root, (), document)
    return document


def parse_scalar(text: str) -> Any:
    """Return what a word means in YAML: "8080" is a number, "true" a truth value, "tcp://10.0.0.5:1" text.

    For values that come from the environment or the command line. Lists and mappings in brackets work too; whatever
    is not valid YAML is text.
    """
    document = read_document(f"value: {text}", "")
    return text if document.errors or set(document.values) != {"value"} else document.values["value"]


def dump_document(values: dict[str, Any]) -> str:
    """Return the YAML text that `read_document` reads as the same values."""
    return yaml.dump(values, Dumper=_Dumper, default_flow_style=False, sort_keys=False, width=1000)


def leaves(values: dict[str, Any], prefix: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value that is not a mapping (or is an empty one), with its path."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """Return `high` laid over `low`, mapping by mapping; neither is changed."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = merge(below, value)
        elif not (isinstance(below, dict) and value is None):  # a section with nothing in it
            merged[key] = value
    return merged


def _build(node: yaml.Node, path: Path, document: Document) -> Any:
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                document.errors.append(f"{document.origin}:{line}: expected a plain key, got {_describe(key_node)}")
                continue
            key = key_node.value
            here = (*path, key)
            name = ".".join(here)
            if key == "<<":
                document.errors.append(f"{document.origin}:{line}: {name}: merge keys are not supported")
            elif key in values:
                document.errors.append(
                    f"{document.origin}:{line}: {name}: given twice, first in line {document.lines[here]}"
                )
            else:
                document.lines[here] = line
                values[key] = _build(value_node, here, document)
        return values
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            here = (*path, str(index))
            document.lines[here] = item.start_mark.line + 1
            items.append(_build(item, here, document))
        return items
    assert isinstance(node, yaml.ScalarNode), node
    return _build_scalar(node, path, document)


def _build_scalar(node: yaml.ScalarNode, path: Path, document: Document) -> Any:
    kind, text = node.tag.removeprefix(_TAG), node.value
    problem = ""
    try:
        if kind == "str":
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind == "int" and len(text) <= MAX_DIGITS:
            return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
        if kind == "float":
            number = float(text.replace(".inf", "inf").replace(".nan", "nan").lower())
            if math.isfinite(number):
                return number
        problem = "expected a finite number" if kind in ("int", "float") else "expected a plain value"
    except ValueError:
        problem = f"expected {kind}"
    document.errors.append(
        f"{document.origin}:{node.start_mark.line + 1}: {'.'.join(path)}: {problem}, got {_describe(node)}"
    )
    return None


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    tag = "" if node.tag.startswith(_TAG) else f"{node.tag} "
    text = node.value if len(node.value) <= 40 else node.value[:37] + "..."
    return f"{tag}{text!r}"
