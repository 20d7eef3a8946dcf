"""Whatever is in a file, loading it gives a config that survives the way to a worker, or a ConfigError."""

import json
from pathlib import Path

import msgspec
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gw.config import check, convert, decode, encode, loads, model
from gw.config.loading import decode_text
from gw.errors import ConfigError

KEYS = sorted({field.encode_name for struct in vars(model).values() if isinstance(struct, type) and issubclass(struct, msgspec.Struct) for field in msgspec.structs.fields(struct)})
WORDS = ["/a/{id}", "{rest}", "127.0.0.1:80", ":8080", "https://a", "unix:/x", "GET", "5s", "1KiB", "${A}", "${A:-1}", "file:x"]
WORDS += ["a", "~x", "*.a", "preserve", "off", "0660", "10.0.0.0/8", "\r\n", "\x00"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(WORDS)
NAMES = st.sampled_from(KEYS) | st.text(max_size=3)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=25)
TOP = st.fixed_dictionaries({}, optional=dict.fromkeys(model.Config.__struct_fields__, TREES))
ENOUGH = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def hold(text, name):
    try:
        loaded = loads(text, name, base=Path("/nonexistent"), environ={"A": "x"})
    except ConfigError as error:
        assert error.problems and all(each.message and each.line > 0 and each.column > 0 for each in error.problems), error.problems
        assert "BROKEN" not in str(error)
        return
    check(loaded)
    assert decode(encode(loaded.config)) == loaded.config


@given(st.text(), st.sampled_from(["a.yaml", "a.json", "a.toml"]))
@ENOUGH
def test_any_text(text, name):
    hold(text, name)


@given(st.binary())
@ENOUGH
def test_any_bytes(data):
    try:
        text = decode_text(data, "a.yaml")
    except ConfigError:
        return
    hold(text, "a.yaml")


@given(TOP)
@ENOUGH
def test_any_tree_in_json(tree):
    hold(json.dumps(tree), "a.json")


@given(TOP)
@ENOUGH
def test_any_tree_in_yaml(tree):
    hold(yaml.safe_dump(tree, allow_unicode=True), "a.yaml")


@given(TREES)
@ENOUGH
def test_any_value_as_the_config_of_a_policy(raw):
    for kind in (model.Route, model.Service, model.Timeouts):
        try:
            read = convert(raw, kind, "$.x")
        except ConfigError as error:
            assert all(each.pointer.startswith("$.x") for each in error.problems)
        else:
            assert isinstance(read, kind)


@given(TOP)
@ENOUGH
def test_json_and_yaml_mean_the_same(tree):
    """The text of a JSON file is YAML too, where PyYAML can read it."""
    text = json.dumps(tree, allow_nan=False, ensure_ascii=False) if all(map(str.isprintable, strings(tree))) and finite(tree) else "{}"
    assert messages(text, "a.json") == messages(text, "a.yaml")


def messages(text, name):
    try:
        return encode(loads(text, name, base=Path("/nonexistent"), environ={}).config)
    except ConfigError as error:
        return [(each.message, each.line, each.column) for each in error.problems]


def strings(tree):
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for key, child in tree.items():
            yield key
            yield from strings(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from strings(child)


def finite(tree):
    return "NaN" not in json.dumps(tree) and "Infinity" not in json.dumps(tree)
