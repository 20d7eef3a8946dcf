"""gw.tls: contexts from the configuration, warnings about certificates, ticket keys."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gw.config.model import Certificate, ClientCertificates, Config, Listener, ListenerTls, OriginTls, Service
from gw.errors import ConfigError
from gw.tls import TicketKeys, certificate_warnings, client_context, inspect, server_context
from tests.certs import Cert, make_cert
from tests.unit.tls.link import ERROR, OK, Ours, connect, pair, shake, trusting

DAY = 24 * 60 * 60


def written(cert: Cert) -> Certificate:
    """As it stands in a configuration: relative to the file's folder."""
    return Certificate(cert=cert.cert.name, key=cert.key.name)


def test_a_listener_and_a_service_meet(certs: SimpleNamespace) -> None:
    listener = ListenerTls(certificates=[written(certs.a)], client_certificates=ClientCertificates(ca=certs.ca.cert.name), min_version="1.3")
    server = server_context(listener, certs.folder, [bytes(80)])
    origin = client_context(OriginTls(ca=certs.ca.cert.name, certificate=written(certs.client)), certs.folder)
    left, right = pair()
    ours, theirs = Ours(left, server), Ours(right, origin, "a.example")
    shake(ours, theirs)
    info = ours.tls.info()
    assert (info.protocol, info.alpn, info.verified) == ("TLSv1.3", "http/1.1", True)


@pytest.mark.parametrize("tickets", [True, False])
def test_tickets_only_where_wanted(certs: SimpleNamespace, tickets: bool) -> None:
    server = server_context(ListenerTls(certificates=[written(certs.a)], session_tickets=tickets), certs.folder, [bytes(80)])
    ours, theirs = connect(server, trusting(certs.ca), "a.example")
    ours.tls.send(b"x")
    assert theirs.recv() == b"x"
    session = theirs.tls.session
    assert (session is not None and session.has_ticket) is tickets


def test_clients_may_be_optional_and_origins_unverified(certs: SimpleNamespace) -> None:
    listener = ListenerTls(certificates=[written(certs.a)], client_certificates=ClientCertificates(ca=certs.ca.cert.name, mode="optional"))
    assert connect(server_context(listener, certs.folder, None), trusting(certs.ca), "a.example")[0].state == OK
    for verify, expected in ((True, ERROR), (False, OK)):
        left, right = pair()
        ours = Ours(left, client_context(OriginTls(verify=verify), certs.folder), "a.example")
        shake(ours, Ours(right, server_context(listener, certs.folder, None)))
        assert ours.state == expected


def test_mistakes_become_problems_with_their_place(certs: SimpleNamespace) -> None:
    with pytest.raises(ConfigError) as caught:
        server_context(ListenerTls(certificates=[Certificate(cert="nowhere.pem", key="x")]), certs.folder, None, "$.listeners[0].tls")
    (problem,) = caught.value.problems
    assert problem.pointer == "$.listeners[0].tls"
    assert problem.message == f"{certs.folder / 'nowhere.pem'}: cannot read the certificate: No such file or directory"
    with pytest.raises(ConfigError, match=r"nowhere\.pem: cannot read the CA"):
        client_context(OriginTls(ca="nowhere.pem"), certs.folder)


def test_inspect(certs: SimpleNamespace) -> None:
    (leaf,) = inspect(certs.wild.cert)
    assert leaf.names == ["*.wild.example", "wild.example"]
    assert 29 * DAY < leaf.not_after - leaf.not_before <= 30 * DAY
    with pytest.raises(ConfigError, match="no PEM certificate in it"):
        inspect(certs.wild.key)


def warnings_of(certs: SimpleNamespace, now: float, *listed: Cert, origin: Cert | None = None) -> list[str]:
    services = {"s": Service(endpoints=["https://o.example"], tls=OriginTls(certificate=written(origin) if origin else None))}
    plain, tls = Listener(bind=":80"), Listener(bind=":443", tls=ListenerTls(certificates=[written(each) for each in listed]))
    problems = certificate_warnings(Config(listeners=[plain, tls], services=services), certs.folder, now)
    assert all(problem.severity == "warning" for problem in problems)
    return [f"{problem.pointer} {problem.message}" for problem in problems]


def test_warnings_about_time(certs: SimpleNamespace) -> None:
    (leaf,) = inspect(certs.a.cert)
    place, file = "$.listeners[1].tls.certificates[0].cert", certs.a.cert.name
    assert warnings_of(certs, leaf.not_before, certs.a) == []
    assert warnings_of(certs, leaf.not_after - 13 * DAY, certs.a) == [f"{place} {file}: the certificate expires in 13 days"]
    assert warnings_of(certs, leaf.not_after - 3600, certs.a) == [f"{place} {file}: the certificate expires in 1 hours"]
    assert warnings_of(certs, leaf.not_after, certs.a) == [f"{place} {file}: the certificate expired 0 hours ago"]
    assert warnings_of(certs, leaf.not_before - 3 * DAY, certs.a) == [f"{place} {file}: the certificate is not valid before 3 days from now"]


def test_warnings_about_names_and_origins(certs: SimpleNamespace) -> None:
    person = make_cert(certs.folder, ["x"], certs.ca, subject="/CN=Jane Roe", sans="", label="jane")
    again = make_cert(certs.folder, ["a.example"], certs.ca, label="again")
    now = inspect(certs.a.cert)[0].not_before + DAY
    assert warnings_of(certs, now, certs.a, certs.a_rsa) == []
    assert warnings_of(certs, now, certs.a, again, person) == [
        "$.listeners[1].tls.certificates[1].cert again.pem: a.example is already served by a.example-ec.pem, which wins",
        "$.listeners[1].tls.certificates[2].cert jane.pem: the certificate names no host, so clients will refuse it",
    ]
    assert warnings_of(certs, now, certs.a, origin=certs.expired)[0].startswith("$.services.s.tls.certificate.cert expired.example-ec.pem: the certificate expired ")
    assert warnings_of(certs, now, Cert(certs.folder / "nowhere.pem", certs.folder / "nowhere.key")) == []


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_ticket_keys_are_known_before_they_are_used_and_after() -> None:
    clock = Clock()
    tickets = TicketKeys(clock, period=100)
    first, second = tickets.all()
    assert not tickets.rotate()
    assert tickets.due_in() == 100
    clock.now += 99
    assert not tickets.rotate()
    clock.now += 1
    assert tickets.due_in() == 0
    assert tickets.rotate()
    assert tickets.all()[0] == second
    assert tickets.all()[2:] == [first]
    clock.now += 200
    assert tickets.rotate()
    assert tickets.all()[3] == second
    assert first not in tickets.all()
    assert len(set(tickets.all())) == 4
    assert repr(tickets) == "<TicketKeys 3 used, next in 100 s>"


def test_ticket_keys_after_a_long_sleep_are_all_new() -> None:
    clock = Clock()
    tickets = TicketKeys(clock, period=100)
    before = set(tickets.all())
    clock.now += 1_000_050
    assert tickets.rotate()
    assert not before & set(tickets.all())
    assert tickets.due_in() == 50


def test_rotation_keeps_clients_resuming(certs: SimpleNamespace) -> None:
    clock = Clock()
    tickets = TicketKeys(clock)
    server = server_context(ListenerTls(certificates=[written(certs.a)]), certs.folder, tickets.all())
    client = trusting(certs.ca)
    ours, theirs = connect(server, client, "a.example")
    for _ in range(6):
        ours.tls.send(b"x")
        assert theirs.recv() == b"x"
        session = theirs.tls.session
        clock.now += 3600
        assert tickets.rotate()
        server.set_ticket_keys(tickets.all())
        ours, theirs = connect(server, client, "a.example", session)
        assert ours.tls.info().resumed
