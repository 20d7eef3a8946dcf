import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.certs import make_ca, make_cert
from tests.unit.tls.link import opened


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("certs")
    ca, other = make_ca(folder), make_ca(folder, "other")
    return SimpleNamespace(
        folder=folder,
        ca=ca,
        other=other,
        a=make_cert(folder, ["a.example", "alias.example"], ca),
        a_rsa=make_cert(folder, ["a.example", "alias.example"], ca, key="rsa"),
        wild=make_cert(folder, ["*.wild.example", "wild.example"], ca),
        under=make_cert(folder, ["b.wild.example"], ca),
        address=make_cert(folder, ["127.0.0.1", "::1"], ca),
        expired=make_cert(folder, ["expired.example"], ca, days=-1),
        own=make_cert(folder, ["own.example"], None),
        client=make_cert(folder, ["client-1"], ca, subject="/O=Acme, Inc./CN=client-1", sans="DNS:client-1,URI:spiffe://acme/client-1,email:a@b.example,IP:10.0.0.1"),
        stranger=make_cert(folder, ["stranger"], other),
    )


@pytest.fixture
def ticket_keys() -> list[bytes]:
    return [os.urandom(80)]


@pytest.fixture(autouse=True)
def closed_sockets() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()
