import shutil

import pytest

from gw.config import check, load
from gw.errors import ConfigError
from tests.certs import make_ca, make_cert, openssl


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    ca = make_ca(folder)
    make_cert(folder, ["a.example"], ca, label="good")
    make_cert(folder, ["b.example"], ca, label="other", key="rsa")
    openssl("pkey", "-in", folder / "good.key", "-aes128", "-passout", "pass:secret", "-out", folder / "locked.key")
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    return folder


def loaded(folder, cert="good.pem", key="good.key", ca="ca.pem"):
    (folder / "gw.yaml").write_text(f"""
listeners:
  - bind: :8443
    tls:
      certificates: [{{cert: {cert}, key: {key}}}]
      client_certificates: {{ca: {ca}}}
      ciphers: ECDHE-ECDSA-AES128-GCM-SHA256
services:
  users:
    endpoints: [a:1]
    tls: {{ca: {ca}, certificate: {{cert: {cert}, key: {key}}}}}
routes: [{{service: users}}]
""")
    return load(folder / "gw.yaml")


def refused(folder, **names):
    with pytest.raises(ConfigError) as caught:
        loaded(folder, **names)
    return [(each.line, each.column, each.message) for each in caught.value.problems]


def test_good_files_pass_and_are_watched(made):
    found = loaded(made)
    assert check(found) == []
    assert {each.name for each in found.files} == {"gw.yaml", "good.pem", "good.key", "ca.pem"}


def test_a_key_of_another_certificate(made):
    message = "the key 'other.key' does not belong to the certificate 'good.pem'"
    assert refused(made, key="other.key") == [(5, 44, message), (11, 58, message)]


def test_a_key_with_a_pass_phrase_is_not_asked_for(made):
    assert refused(made, key="locked.key")[0] == (5, 44, "the key 'locked.key' is protected by a pass phrase")


def test_swapped_and_broken_files(made):
    assert refused(made, cert="good.key")[0] == (5, 29, "'good.key' holds no certificate in PEM form")
    assert refused(made, key="good.pem")[0] == (5, 44, "'good.pem' holds no private key in PEM form")
    assert "cannot be used" in refused(made, cert="broken.pem")[0][2]
    assert refused(made, ca="good.key")[0] == (6, 33, "'good.key' holds no certificate in PEM form")


def test_files_that_cannot_be_read(made):
    assert refused(made, cert="gone.pem", key=".")[:2] == [(5, 29, "cannot read 'gone.pem': No such file or directory"), (5, 44, "cannot read '.': Is a directory")]


def test_paths_start_from_the_folder_of_the_config(made, tmp_path, monkeypatch):
    folder = tmp_path / "conf"
    shutil.copytree(made, folder)
    monkeypatch.chdir(tmp_path)
    assert check(loaded(folder)) == []
