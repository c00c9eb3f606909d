"""The servers of a bus: one, or the nodes of a cluster, of which a connection uses one at a time; with TLS or without."""

import os
import random
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.errors import AuthorizationError
from nats.errors import Error as NatsError

from keyferry.runtime.bus.client import BusClient
from keyferry.runtime.tls.certificates import CertificateFiles, UnusableCertificate
from keyferry.runtime.tls.context import ReloadingContext, client_context

_PING_SECONDS = 10
_PING_SECONDS_IN_CLUSTER = 2
"""A server that stopped answering is noticed after the third ping. With others to turn to that has to be soon; without any, a
machine that was only busy would have cost all requests under way."""
CA_FILE, CERT_FILE, KEY_FILE = "KEYFERRY_NATS_CA_FILE", "KEYFERRY_NATS_CERT_FILE", "KEYFERRY_NATS_KEY_FILE"


def server_urls(text: str) -> list[str]:
    """Return the URLs of a list with commas, in its order; at least one, which is invalid if the list has none."""
    return [url for part in text.split(",") if (url := part.strip())] or [text]


def ping_seconds(urls: list[str]) -> int:
    """Return how often a connection checks that its server still answers, in seconds."""
    return _PING_SECONDS_IN_CLUSTER if len(urls) > 1 else _PING_SECONDS


def bus_tls(
    urls: list[str], ca_file: Path | None = None, cert_file: Path | None = None, key_file: Path | None = None
) -> ReloadingContext | None:
    """Return the TLS context for these servers; None where neither a URL (`tls://`) nor a file asks for TLS.

    Raises UnusableCertificate, also for a list of which only some servers use TLS.
    """
    secure = [url for url in urls if url.lower().startswith("tls://")]
    if not secure and ca_file is None and cert_file is None and key_file is None:
        return None
    if secure and len(secure) < len(urls):
        raise UnusableCertificate("either all servers in KEYFERRY_NATS_URL begin with tls://, or none")
    if (cert_file is None) != (key_file is None):
        raise UnusableCertificate(f"{CERT_FILE} and {KEY_FILE} belong together: set both or neither")
    own = None if cert_file is None or key_file is None else CertificateFiles(cert_file, key_file)
    return client_context(ca_file, own)


def bus_tls_of_environment(urls: list[str], environment: Mapping[str, str] = os.environ) -> ReloadingContext | None:
    """Return the TLS context for these servers by the variables that services have. Raises UnusableCertificate."""
    named = [Path(value) if (value := environment.get(name)) else None for name in (CA_FILE, CERT_FILE, KEY_FILE)]
    return bus_tls(urls, *named)


def tls_options(context: ReloadingContext | None) -> dict[str, Any]:
    """Return nats-py's options for TLS.

    The handshake comes before the server's greeting: nats-py believes a greeting in plain text that there is no TLS.
    """
    return {} if context is None else {"tls": context, "tls_handshake_first": True}


def describe_tls_error(error: Exception) -> str | None:
    """Return what is wrong, for an operator, if a handshake failed; None for other errors."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not accepted: {error.verify_message}; check {CA_FILE} and the names in the certificate"
        )
    if isinstance(error, ssl.SSLError | ConnectionResetError | ConnectionAbortedError):
        reason = getattr(error, "reason", None) or type(error).__name__
        return (
            f"the TLS handshake fails ({reason}): the server must have TLS with `handshake_first: true`, and where it asks for a"
            f" certificate, accept the one in {CERT_FILE}"
        )
    return None


async def connect(urls: list[str], **options: Any) -> Client:
    """Connect to one of the servers; `options` and errors are those of nats-py."""
    client = BusClient()
    try:
        await client.connect(urls, **options)
    except BaseException:  # a cancellation too: nats-py leaves the socket open
        client.drop()
        raise
    return client


async def connect_once(urls: list[str], **options: Any) -> Client:
    """Connect to the first of the servers, in random order, that can be used; a lost connection is not restored.

    `options` are those of nats-py, which alone would give up at the first server that accepts a connection and then says nothing.
    Raises its errors: for refused credentials at once, else that of the last server.
    """
    *others, last = random.sample(urls, len(urls))
    for url in others:
        try:
            return await _connect(url, options)
        except AuthorizationError:
            raise
        except (OSError, NatsError, TimeoutError) as error:
            if "authorization violation" in str(error).lower():
                raise
    return await _connect(last, options)


async def _connect(url: str, options: dict[str, Any]) -> Client:
    # nats-py also uses the limit of attempts for the first connection.
    return await connect([url], allow_reconnect=False, max_reconnect_attempts=1, **options)
