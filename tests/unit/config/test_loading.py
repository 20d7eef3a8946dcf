import os
import time

import pytest

from gw.config import check, decode, encode, from_url, load, loads, policies_of
from gw.config.loading import Loaded
from gw.config.model import Config, Duration, Size
from gw.errors import ConfigError, Problem

MINIMAL = "listeners:\n  - bind: :8080\n"
ROUTES = 10_000


def problems(text, name="gw.yaml", **options):
    with pytest.raises(ConfigError) as caught:
        loads(text, name, **options)
    return str(caught.value)


def refused(path):
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value)


def test_a_missing_file_says_what_to_do(tmp_path):
    assert refused(tmp_path / "gw.yaml") == f"{tmp_path}/gw.yaml: no such file\n  `gw init` writes one to start from; `gw run --to URL` needs none"


def test_an_unreadable_file_says_why(tmp_path):
    (tmp_path / "gw.yaml").symlink_to("gw.yaml")
    assert "cannot read: " in refused(tmp_path / "gw.yaml")
    assert "cannot read: " in refused(tmp_path / "gw\0.yaml")
    assert "cannot read: File name too long" in refused(tmp_path / ("x" * 300))


def test_a_byte_that_is_not_utf8_is_found(tmp_path):
    (tmp_path / "gw.yaml").write_bytes("# é\nname: caf".encode() + b"\xe9\n")
    assert refused(tmp_path / "gw.yaml") == f"{tmp_path}/gw.yaml:2:10: byte 0xe9 is not UTF-8\n  save the file as UTF-8"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "gw.yaml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load(tmp_path / "gw.yaml").config.listeners[0].bind == ":8080"


def test_files_to_watch(tmp_path):
    (tmp_path / "secret").write_text("s\r\n")
    (tmp_path / "gw.yaml").write_text(MINIMAL + "policies:\n  - a: {key: file:secret, same: file:secret}\n")
    loaded = load(tmp_path / "gw.yaml")
    assert loaded.config.policies == [{"a": {"key": "s", "same": "s"}}]
    assert set(loaded.files) == {tmp_path / "gw.yaml", tmp_path / "secret"}
    assert loaded.base == tmp_path


def test_a_referenced_file_is_bounded_text(tmp_path):
    (tmp_path / "big").write_bytes(b"x" * (1024 * 1024 + 1))
    (tmp_path / "binary").write_bytes(b"\xff")
    text = MINIMAL + 'policies:\n  - a: {b: file:big, c: file:binary, d: file:/dev/zero, e: "file:a\\0b"}\n'
    found = problems(text, base=tmp_path)
    assert "gw.yaml:4:12: 'big' is larger than 1048576 bytes" in found
    assert "gw.yaml:4:25: 'binary' is not UTF-8 text" in found
    assert "gw.yaml:4:41: '/dev/zero' is larger than 1048576 bytes" in found
    assert "a file name cannot hold a NUL byte" in found


def test_a_variable_that_is_not_text_is_refused():
    assert "environment variable A is not UTF-8 text" in problems("listeners:\n  - bind: ${A}\n", environ={"A": "\udcff"})


def test_a_variable_with_a_near_name_is_suggested():
    assert "did you mean GW_PORT?" in problems("listeners:\n  - bind: :${GW_PROT}\n", environ={"GW_PORT": "1"})


def test_a_value_shared_by_an_anchor_is_filled_once_and_reported_once():
    text = MINIMAL + "policies:\n  - a: {key: &k '$${A}'}\n  - b: {key: *k}\n"
    assert loads(text).config.policies == [{"a": {"key": "${A}"}}, {"b": {"key": "${A}"}}]
    assert problems(text.replace("$$", "$"), environ={}).count("environment variable A is not set") == 1


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("GW_TEST_PORT", "8081")
    assert loads("listeners:\n  - bind: :${GW_TEST_PORT}\n").config.listeners[0].bind == ":8081"


def test_where_a_value_was_written():
    loaded = loads(MINIMAL + "routes:\n  - path: /a\n    respond:\n      headers: {x.y: z}\n")
    assert str(loaded.where("$.routes[0].path")) == "gw.yaml:4:11"
    assert str(loaded.where('$.routes[0].respond.headers["x.y"]')) == "gw.yaml:6:22"
    assert str(loaded.problem("$.routes[0].path", "odd", "hint")) == "gw.yaml:4:11: odd\n  hint"


def test_errors_of_later_stages_get_their_place():
    loaded = loads(MINIMAL + "policies:\n  - jwt:\n      audience: 5\n")
    [policy] = policies_of(loaded.config.policies)
    assert (policy.name, policy.config) == ("jwt", {"audience": 5})
    late = ConfigError([Problem(message="no such policy", pointer=policy.pointer, at_key=True), Problem(message="bad", file="other.py", line=3, column=1)])
    assert str(loaded.placed(late)) == "gw.yaml:4:5: no such policy\nother.py:3:1: bad"


def test_a_wrong_policy_list_is_refused_without_a_file_too():
    with pytest.raises(ConfigError, match=r"\$\.policies\[0\]: expected a policy"):
        policies_of([5])


def test_a_config_made_by_code_has_no_places():
    loaded = Loaded(config=from_url("http://127.0.0.1:9001"))
    assert check(loaded) == []
    assert str(loaded.problem("$.routes[0]", "odd")) == "$.routes[0]: odd"


def test_one_url():
    config = from_url("http://127.0.0.1:9001", ":0")
    assert (config.listeners[0].bind, config.services["origin"].endpoints, config.routes[0].service) == (":0", ["http://127.0.0.1:9001"], "origin")
    assert (config.services["origin"].host, from_url("https://a.example").services["origin"].host) == ("preserve", "endpoint")


def test_one_wrong_url():
    with pytest.raises(ConfigError) as caught:
        from_url("http://a/b", "8080")
    assert str(caught.value) == (
        "--to http://a/b: a path or query does not belong in an endpoint; use `rewrite` on the route\n--listen 8080: no port; expected host:port, such as 127.0.0.1:8080"
    )


def test_durations_and_sizes_survive_the_way_to_a_worker():
    config = loads(MINIMAL + "timeouts: {connect: 250ms}\nroutes: [{respond: {}, max_body: 5MiB}]\npolicies: [{a: {b: [1, 2.5, null, true, x]}}]\n").config
    again = decode(encode(config))
    assert again == config
    assert type(again.timeouts.connect) is Duration
    assert type(again.routes[0].max_body) is Size
    assert isinstance(again, Config)


@pytest.mark.speed
def test_ten_thousand_routes_load_in_three_seconds():
    lines = [f"  - path: /a/{index}\n    service: s{index % 100}\n    methods: [GET]\n    headers: {{x-a: b}}\n    policies: [{{jwt: {{a: 1}}}}]\n" for index in range(ROUTES)]
    services = [f"  s{index}:\n    endpoints: [127.0.0.1:{index + 1000}]\n" for index in range(100)]
    started = time.process_time()
    loaded = loads("".join([MINIMAL, "services:\n", *services, "routes:\n", *lines]))
    assert len(loaded.config.routes) == ROUTES
    assert time.process_time() - started < 3


def test_a_folder_of_kubernetes_is_read_through_its_links(tmp_path):
    """A ConfigMap is mounted as links into a hidden folder that is swapped on change."""
    (tmp_path / "..2024").mkdir()
    (tmp_path / "..2024" / "gw.yaml").write_text(MINIMAL)
    os.symlink("..2024", tmp_path / "..data")
    os.symlink("..data/gw.yaml", tmp_path / "gw.yaml")
    assert load(tmp_path).config.listeners[0].bind == ":8080"
