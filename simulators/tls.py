"""A throw-away certificate authority for loopback, made once per state folder.

The `openssl` program makes it: it is the same library that the engine's TLS uses, and it keeps the
simulators free of a further dependency. Files: ca.pem, ca.key, server.pem, server.key (0600).
"""

from __future__ import annotations

import os
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from simulators.state import StateError

_EXTENSIONS = (
    "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n"
    "basicConstraints=critical,CA:FALSE\n"
    "keyUsage=critical,digitalSignature\n"
    "extendedKeyUsage=serverAuth\n"
)
_DAYS = "365"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of the authority that clients must trust and of the server's own pair."""

    ca: Path
    certificate: Path
    key: Path


def certificates_in(state: Path) -> Certificates:
    """The certificates of this state folder; made on first use, reused after a restart."""
    made = Certificates(state / "ca.pem", state / "server.pem", state / "server.key")
    if made.ca.is_file() and made.certificate.is_file() and made.key.is_file():
        return made
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca_key, request, extensions = state / "ca.key", state / "server.csr", state / "server.ext"
    extensions.write_text(_EXTENSIONS)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256")
    _openssl("req", "-x509", *curve, "-keyout", ca_key, "-out", made.ca, "-days", _DAYS,
             "-subj", "/CN=Loopback simulator authority",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    _openssl("req", "-new", *curve, "-keyout", made.key, "-out", request, "-subj", "/CN=localhost")
    partial = state / "server.pem.new"
    _openssl("x509", "-req", "-in", request, "-CA", made.ca, "-CAkey", ca_key, "-CAcreateserial",
             "-out", partial, "-days", _DAYS, "-sha256", "-extfile", extensions)  # fmt: skip
    for path in (ca_key, made.key):
        os.chmod(path, 0o600)
    for leftover in (request, extensions, state / "ca.srl"):
        leftover.unlink(missing_ok=True)
    os.replace(partial, made.certificate)
    return made


def server_context(certificates: Certificates) -> ssl.SSLContext:
    """The server side of TLS 1.2 and newer with these certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificates.certificate, certificates.key)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _openssl(*arguments: str | Path) -> None:
    try:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)
    except FileNotFoundError as error:
        raise StateError("the program openssl is missing: install the package openssl") from error
    except subprocess.CalledProcessError as error:
        text = error.stderr.decode(errors="replace").strip().splitlines()
        raise StateError(f"openssl could not make the certificates: {text[-1] if text else error}") from error
