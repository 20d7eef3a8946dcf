"""Certificates for tests, made by the `openssl` command into a folder of the test's own."""

from __future__ import annotations

import ipaddress
import subprocess
from dataclasses import dataclass
from pathlib import Path

KEYS = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-newkey", "rsa:2048"]}


@dataclass(frozen=True)
class Cert:
    """Paths of one certificate and its key; `pair` is what contexts take."""

    cert: Path
    key: Path

    @property
    def pair(self) -> tuple[str, str]:
        return str(self.cert), str(self.key)


def openssl(*args: str | Path) -> None:
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


def make_ca(folder: Path, name: str = "ca") -> Cert:
    made = Cert(folder / f"{name}.pem", folder / f"{name}.key")
    openssl("req", "-x509", *KEYS["ec"], "-nodes", "-days", "30", "-subj", f"/CN=gw test {name}", "-keyout", made.key, "-out", made.cert)
    return made


def make_cert(
    folder: Path,
    names: list[str],
    ca: Cert | None,
    key: str = "ec",
    days: int = 30,
    *,
    label: str | None = None,
    subject: str | None = None,
    sans: str | None = None,
) -> Cert:
    """A leaf for `names` (DNS names and IP addresses), signed by `ca` or by itself; with `days` < 0 it has expired. `sans` replaces the list made from names."""
    stem = label or f"{names[0] if names else 'leaf'}-{key}".replace("*", "_").replace(":", "_")
    made = Cert(folder / f"{stem}.pem", folder / f"{stem}.key")
    request, extensions = folder / f"{stem}.csr", folder / f"{stem}.ext"
    openssl("req", "-new", *KEYS[key], "-nodes", "-subj", subject or f"/CN={names[0]}", "-keyout", made.key, "-out", request)
    entries = ",".join(f"{'IP' if is_address(name) else 'DNS'}:{name}" for name in names) if sans is None else sans
    extensions.write_text(f"subjectAltName={entries}\n" if entries else "basicConstraints=CA:FALSE\n")
    signer = ["-CA", ca.cert, "-CAkey", ca.key, "-CAcreateserial"] if ca else ["-signkey", made.key]
    openssl("x509", "-req", "-in", request, *signer, "-days", str(days), "-extfile", extensions, "-out", made.cert)
    return made


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
