"""TLS: the certificate that was given, or one that the appliance makes for itself.

A certificate of its own is made by the `openssl` command, which Linux brings, and signed by nobody: browsers warn once,
and people compare the fingerprint with what the console says. It is kept for as long as it is valid, because a new
one means a new warning.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..settings import WebSettings

FILE = "tls.pem"
VALID_DAYS = 825
"""Apple's limit."""
RENEW_S = 30 * 86400
OPENSSL_TIMEOUT_S = 60.0
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Tls:
    """What a server shows and speaks with."""

    context: ssl.SSLContext
    fingerprint: str
    """SHA-256 of the certificate, as browsers show it."""


def make_tls(settings: WebSettings, data: Path, names: Iterable[str], addresses: Iterable[str]) -> Tls | None:
    """Return what the settings ask for; None: pages over plain HTTP. Blocks, for a second if a certificate is made.

    `names` and `addresses` are those of this computer, for a certificate that is made.

    Raises:
      ConfigError: a file is missing or does not fit; `openssl` is missing.
    """
    match settings.tls:
        case "given":
            # Relative to the data folder; an absolute path stays what it is.
            return _load(data / settings.tls_certificate, data / settings.tls_key, "web.tls_certificate")
        case "generated":
            path = data / FILE
            if not _is_good(path):
                _generate(path, names, addresses)
            return _load(path, path, "web.tls")
    return None


def _load(certificate: Path, key: Path, setting: str) -> Tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        for path in (certificate, key):
            path.open("rb").close()  # says which one
        # A key with a password would ask for it on the terminal, for ever.
        context.load_cert_chain(certificate, key, password="")
        found = _CERTIFICATE.search(certificate.read_text("ascii", "replace"))
    except ssl.SSLError as error:
        reason = error.reason or "a key without password, fitting the certificate, both PEM, were expected"
        raise ConfigError(f"{setting}: {certificate} with {key} cannot be used: {reason}") from None
    except OSError as error:
        raise ConfigError(f"{setting}: {error.filename}: {error.strerror}") from None
    assert found is not None  # OpenSSL has read it
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(found[0])).hexdigest().upper()
    return Tls(context, ":".join(digest[at : at + 2] for at in range(0, len(digest), 2)))


def _is_good(path: Path) -> bool:
    """Whether there is a certificate that is still valid for a month."""
    if not path.is_file():
        return False
    return _openssl("x509", "-in", str(path), "-noout", "-checkend", str(RENEW_S)).returncode == 0


def _generate(path: Path, names: Iterable[str], addresses: Iterable[str]) -> None:
    known = [*(f"DNS:{name}" for name in sorted(names)), *(f"IP:{address}" for address in sorted(addresses))]
    try:
        with tempfile.TemporaryDirectory(prefix=".tls-", dir=path.parent) as folder:  # for its owner only
            key, certificate, both = (Path(folder) / name for name in ("key.pem", "certificate.pem", "both.pem"))
            made = _openssl(
                *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", str(VALID_DAYS), "-subj", "/CN=NIMS appliance", "-keyout", str(key)),
                *("-out", str(certificate), "-addext", f"subjectAltName={','.join(known)}"),
                *("-addext", "extendedKeyUsage=serverAuth"),
            )
            if made.returncode != 0:
                raise ConfigError(f"web.tls: openssl could not make a certificate: {made.stderr.strip()[-300:]}")
            # One file, so that key and certificate never come from two attempts.
            with open(os.open(both, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
                file.write(key.read_bytes() + certificate.read_bytes())
                file.flush()
                os.fsync(file.fileno())
            os.replace(both, path)
    except OSError as error:
        raise ConfigError(f"web.tls: {path}: cannot be written: {error.strerror}") from None


def _openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = shutil.which("openssl")
    if command is None:
        raise ConfigError(
            "web.tls: generated needs the command openssl, which this computer lacks: install it, "
            "or set tls: given with a certificate from elsewhere"
        )
    try:
        return subprocess.run(
            [command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=OPENSSL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"web.tls: openssl did not end within {OPENSSL_TIMEOUT_S:g} s") from None
