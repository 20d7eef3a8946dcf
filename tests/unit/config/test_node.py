from hypothesis import given
from hypothesis import strategies as st

from gw.config.node import Node, Position, join, locate, merge, plain


def tree(value, line=1):
    at = Position("f", line, 1)
    if isinstance(value, dict):
        keys = {key: Position("f", line + index, 2) for index, key in enumerate(value)}
        return Node({key: tree(child, line + index) for index, (key, child) in enumerate(value.items())}, at, keys=keys)
    return Node([tree(child, line + index) for index, child in enumerate(value)] if isinstance(value, list) else value, at)


def test_pointers_name_members():
    assert join(join(join("$", "routes"), 3), "strip_prefix") == "$.routes[3].strip_prefix"
    assert join("$.headers", 'x "y".z') == '$.headers["x \\"y\\".z"]'


@given(st.lists(st.text() | st.integers(0, 3), min_size=1, max_size=6))
def test_every_pointer_finds_its_place(path):
    root = node = tree({}) if isinstance(path[0], str) else tree([])
    pointer = "$"
    for depth, step in enumerate(path, 2):
        child = tree({} if depth - 1 < len(path) and isinstance(path[depth - 1], str) else [], depth * 10)
        if isinstance(step, str):
            node.value[step], node.keys = child, {step: Position("f", depth, 7)}
        else:
            node.value.extend([tree(None)] * step + [child])
        node, pointer = child, join(pointer, step)
    assert locate(root, pointer) == node.at
    assert locate(root, pointer, at_key=True) == (Position("f", len(path) + 1, 7) if isinstance(path[-1], str) else node.at)


def test_what_nobody_wrote_is_at_the_nearest_place_around_it():
    root = tree({"a": {"b": 1}, "c": [5]})
    assert locate(root, "$.a.zz.y") == locate(root, "$.a", at_key=True)
    assert locate(root, "$.c[7]") == locate(root, "$.c", at_key=True)
    assert locate(root, "$.nothing") == root.at


def test_merge_joins_mappings_and_lists_and_names_what_both_wrote():
    first = tree({"routes": [1], "limits": {"head": 1}, "services": {"a": {"x": 1}}})
    second = tree({"routes": [2], "limits": {"head": 2, "fields": 3}, "services": {"a": {"y": 1}, "b": {}}})
    merged, clashes = merge(first, second)
    assert plain(merged) == {"routes": [1, 2], "limits": {"head": 1, "fields": 3}, "services": {"a": {"x": 1}, "b": {}}}
    assert [clash[0] for clash in clashes] == ["$.limits.head", "$.services.a"]
    assert plain(first)["routes"] == [1], "the trees themselves stay as they were"
