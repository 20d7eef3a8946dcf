import re
from pathlib import Path

from gw.errors import REASON_INDEX, REASONS, ConfigError, Problem

# https://www.iana.org/assignments/http-proxy-status (RFC 9209 section 2.3)
REGISTERED = {
    "dns_timeout",
    "dns_error",
    "destination_not_found",
    "destination_unavailable",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_read_timeout",
    "connection_write_timeout",
    "connection_limit_reached",
    "tls_protocol_error",
    "tls_certificate_error",
    "tls_alert_received",
    "http_request_error",
    "http_request_denied",
    "http_response_incomplete",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_body_size",
    "http_response_trailer_section_size",
    "http_response_trailer_size",
    "http_response_transfer_coding",
    "http_response_content_coding",
    "http_response_timeout",
    "http_upgrade_failed",
    "http_protocol_error",
    "proxy_internal_response",
    "proxy_internal_error",
    "proxy_configuration_error",
    "proxy_loop_detected",
}


def test_a_problem_reads_like_a_compilers():
    problem = Problem(message="unknown key 'pth'", file="gw.yaml", line=3, column=5, hint="did you mean 'path'?")
    assert str(problem) == "gw.yaml:3:5: unknown key 'pth'\n  did you mean 'path'?"


def test_a_problem_without_position_names_its_file_or_pointer():
    assert str(Problem(message="no such file", file="gw.yaml")) == "gw.yaml: no such file"
    assert str(Problem(message="too many", pointer="$.routes[0]")) == "$.routes[0]: too many"
    assert str(Problem(message="too many")) == "too many"


def test_warnings_say_so():
    assert str(Problem(message="never used", file="a", line=1, column=2, severity="warning")) == "a:1:2: warning: never used"


def test_quoted_values_cannot_steer_a_terminal_or_fake_a_line():
    text = str(Problem(message="bad '\x1b[2J\r\n\u202e'", file="a", line=1, column=1, hint="\x07"))
    assert text == "a:1:1: bad '\\x1b[2J\\r\\n\\u202e'\n  \\x07"


def test_a_config_error_prints_every_problem():
    error = ConfigError([Problem(message="one"), Problem(message="two", hint="three")])
    assert str(error) == "one\ntwo\n  three"
    assert [each.message for each in error.problems] == ["one", "two"]


def test_reasons_have_one_name_and_one_place_each():
    assert len(REASON_INDEX) == len(REASONS)
    assert all(REASONS[index].name == name for name, index in REASON_INDEX.items())
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", each.name) for each in REASONS)


def test_reasons_use_registered_error_tokens():
    assert {each.error for each in REASONS} - {None} <= REGISTERED


def test_reasons_have_a_status_that_fits_who_ended_the_exchange():
    for each in REASONS:
        assert 400 <= each.status <= 599
        assert (each.status == 499) == (each.by == "client")
        assert each.error or each.status < 500, "a 5xx without an error token says nothing to the proxy in front"


def test_the_data_plane_counts_reasons_in_this_order():
    """`R_*` in answer.pxd begins with R_NONE; an index of the two lists that parted would log one reason for another."""
    text = (Path(__file__).parents[2] / "gw" / "_fast" / "answer.pxd").read_text()
    names = [name.lower().replace("_", "-") for name in re.findall(r"^\s+R_([A-Z_]+)", text, flags=re.MULTILINE)]
    assert names == ["none", *(each.name for each in REASONS), "count"]
    [most] = re.findall(r"REASONS_MAX = ([0-9]+)", (Path(__file__).parents[2] / "gw" / "_fast" / "shm.pxd").read_text())
    assert len(REASONS) < int(most)
