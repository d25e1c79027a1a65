"""The YAML layer: what operators write is read as they mean it, and all that is wrong has its line."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nims_appliance.config.yaml import MAX_BYTES, Document, dump_document, leaves, merge, parse_scalar, read_document

KEYS = st.text(min_size=1, max_size=12).filter(lambda key: key != "<<")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(
        ["no", "1:30", "0o17", "0x1f", "1e6", "~", "null", "2020-01-01", "+.5", "- a", "a: b", "#", "<<", "="]
    )
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=15
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_what_is_written_is_read_back_the_same(values):
    document = read_document(dump_document(values), "x")
    assert document.errors == []
    assert document.values == values
    assert repr(document.values) == repr(values) or -0.0 in [v for _, v in leaves(values) if isinstance(v, float)]


@given(st.binary(max_size=400))
def test_no_bytes_raise(data):
    document = read_document(data, "x")
    assert all(error.startswith("x:") for error in document.errors)
    assert isinstance(document.values, dict)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`#, \n\t0123.<?~", max_size=120))
def test_no_text_of_yaml_signs_raises(text):
    assert isinstance(read_document(text, "x"), Document)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_json_reads_as_json(values):
    text = json.dumps(values, ensure_ascii=False)
    for character in "\x7f\x85\u2028\u2029":  # line breaks and a control character, to YAML
        text = text.replace(character, f"\\u{ord(character):04x}")
    document = read_document(text, "x")
    if not document.errors:
        assert document.values == values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1e6),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"),
        ("'8080'", "8080"),
        ("tcp://10.0.0.5:1", "tcp://10.0.0.5:1"),
    ],
)
def test_plain_values_follow_yaml_1_2(text, value):
    read = read_document(f"key: {text}", "x").values["key"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["", "\n", "# nothing but a comment\n", "---\n", "~", "\ufeff"])
def test_empty_text_is_an_empty_mapping(text):
    document = read_document(text.encode(), "x")
    assert (document.values, document.errors) == ({}, [])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"a: 1\nb:\n  c: 2\n  c: 3\n", "x:4: b.c: given twice, first in line 3"),
        (b"a: &one 1\nb: *one\n", "x:2: aliases are not supported, got *one"),
        (b"a: {x: 1}\nb:\n  <<: {y: 1}\n", "x:3: b.<<: merge keys are not supported"),
        (b"a: !!python/object/apply:os.system [ls]\n", None),
        (b"a: !secret x\n", "x:1: a: expected a plain value, got !secret 'x'"),
        (b"a: .inf\n", "x:1: a: expected a finite number, got '.inf'"),
        (b"a: .nan\n", "x:1: a: expected a finite number, got '.nan'"),
        (b"a: 1e999\n", "x:1: a: expected a finite number, got '1e999'"),
        (b"a: " + b"9" * 5000, "x:1: a: expected a finite number, got"),
        (b"a:\n\tb: 1\n", "x:2: while scanning"),
        (b"a: [1, 2\nb: 3\n", "x:2: while parsing a flow sequence"),
        (b"a: caf\xe9\n", "x:1: expected UTF-8 text, got the byte 0xe9"),
        (b"\xff\xfea\x00", "x:1: expected UTF-8 text"),
        (b"a: \x00\n", "x:1: unacceptable character"),
        (b"- a\n- b\n", "x:1: expected keys and values, got a list"),
        (b"just words\n", "x:1: expected keys and values, got 'just words'"),
        (b"a: 1\n---\nb: 2\n", "x:2: expected a single document in the stream but found another document"),
        (b"? [1, 2]\n: 3\n", "x:1: expected a plain key, got a list"),
        (b"[" * 10000, "x:1: nested deeper than 32 levels"),
        (b"{a: " * 10000, "x:1: nested deeper than 32 levels"),
        (b"a: " + b"x" * MAX_BYTES, "x: expected at most 256 KiB, got more"),
    ],
)
def test_every_mistake_has_its_line(text, error):
    errors = read_document(text, "x").errors
    assert len(errors) == 1 or error is None
    assert error is None or errors[0].startswith(error)


def test_tagged_collection_is_not_built_as_an_object():
    assert read_document("a: !!python/object/apply:os.system [ls]\n", "x").values == {"a": ["ls"]}


def test_all_mistakes_are_found_not_only_the_first():
    document = read_document("a: .inf\na: 2\nb: .nan\nc: 3\n", "x")
    assert [error.split(":")[1] for error in document.errors] == ["1", "2", "3"]
    assert document.values["c"] == 3


def test_keys_are_always_text():
    assert read_document("1: a\nyes: b\nnull: c\n", "x").values == {"1": "a", "yes": "b", "null": "c"}


def test_billion_laughs_cost_nothing():
    text = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "aliases are not supported" in read_document(text, "x").errors[0]


def test_where_falls_back_to_the_nearest_key_above():
    document = read_document("a:\n  b:\n    c: 1\n", "x")
    assert document.where(("a", "b", "missing")) == "x:2"
    assert document.where(("nothing",)) == "x"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8080", 8080),
        ("true", True),
        ("1e3", 1e3),
        ("a: b", "a: b"),
        ("# x", None),
        ("[1, 2]", [1, 2]),
        ("x\ny: 1", "x\ny: 1"),
    ],
)
def test_parse_scalar(text, value):
    assert parse_scalar(text) == value


@given(st.text(max_size=40))
def test_parse_scalar_never_raises(text):
    value = parse_scalar(text)
    assert not isinstance(value, float) or math.isfinite(value)


DICTS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), st.integers(), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | st.integers(), max_size=3),
    max_leaves=10,
)


@given(DICTS, DICTS)
def test_merge_keeps_everything_and_the_higher_wins(low, high):
    assert merge(low, {}) == low
    assert merge({}, high) == high
    merged = merge(low, high)
    for path, value in leaves(high):
        found = merged
        for key in path:
            found = found[key]
        assert found == value or (value == {} and isinstance(found, dict))


def test_merge_leaves_its_arguments_alone_and_empty_sections_change_nothing():
    low, high = {"a": {"b": 1}, "c": 2}, {"a": None, "c": None}
    assert merge(low, high) == {"a": {"b": 1}, "c": None}
    assert (low, high) == ({"a": {"b": 1}, "c": 2}, {"a": None, "c": None})
