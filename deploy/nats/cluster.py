"""The parts of a NATS server's configuration that a server alone on its machine does not need: TLS, and a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

_HANDSHAKE_SECONDS = 5
_ROUTE_PING = "2s"
_ROUTE_PINGS = 2
"""A server that is cut off without a word is noticed after the third ping that it does not answer. The server's own defaults
are 2 minutes and 2 pings, during which requests to whatever is connected to that server would be lost."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one server. With `ca_file`, its peers must show a certificate which that authority has signed."""

    cert_file: Path
    key_file: Path
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class NatsCluster:
    """One server's place in a cluster. `routes` are the cluster addresses, `host:port`, of all servers; the own one does no harm.

    A program that may connect as a route sees and sends everything, so routes beyond loopback need TLS with `ca_file`, of an
    authority that signs for these servers alone.
    """

    name: str
    host: str
    port: int
    routes: Sequence[str]
    tls: TlsFiles | None = None


def quote(value: object) -> str:
    """Return a string of the configuration file. Raises ValueError for characters that would end it or change its meaning."""
    text = str(value)
    if not text.isprintable() or '"' in text or "\\" in text:
        raise ValueError(f"the NATS configuration cannot hold {text[:80]!r}: use printable characters without quotes")
    return f'"{text}"'


def render_client_tls(tls: TlsFiles | None) -> str:
    """Return the part that makes clients use TLS, or nothing.

    The handshake comes first: otherwise the server would greet in plain text, and who sits between could answer in its place
    that there is no TLS.
    """
    if tls is None:
        return ""
    return f"tls {{{_render_files(tls, 2)}\n  handshake_first: true\n}}\n"


def render_cluster(cluster: NatsCluster | None) -> str:
    """Return the part that joins a cluster, or nothing. Raises ValueError for routes beyond loopback without mutual TLS.

    Servers do not advertise each other to clients: what they advertise are addresses of interfaces, for which certificates do
    not hold and which may not be reachable. Clients have a list.
    """
    if cluster is None:
        return ""
    beyond = [address for address in (cluster.host, *map(_host_of, cluster.routes)) if not _is_loopback(address)]
    if beyond and (cluster.tls is None or cluster.tls.ca_file is None):
        raise ValueError(
            f"routes beyond loopback ({', '.join(sorted(set(beyond)))}) need TLS on both sides: give a certificate, its key and"
            " the authority of the routes (`python -m deploy.certificates` makes them)"
        )
    scheme = "tls" if cluster.tls is not None else "nats-route"
    routes = "\n".join(f"    {quote(f'{scheme}://{route}')}" for route in cluster.routes)
    tls = "" if cluster.tls is None else f"  tls {{{_render_files(cluster.tls, 4)}\n  }}\n"
    return f"""cluster {{
  name: {quote(cluster.name)}
  listen: {quote(f"{cluster.host}:{cluster.port}")}
  no_advertise: true
  ping_interval: "{_ROUTE_PING}"
  ping_max: {_ROUTE_PINGS}
{tls}  routes: [
{routes}
  ]
}}
"""


def _render_files(tls: TlsFiles, indent: int) -> str:
    lines = [f"cert_file: {quote(tls.cert_file)}", f"key_file: {quote(tls.key_file)}"]
    if tls.ca_file is not None:
        lines += [f"ca_file: {quote(tls.ca_file)}", "verify: true"]
    lines += ['min_version: "1.2"', f"timeout: {_HANDSHAKE_SECONDS}"]
    return "".join(f"\n{' ' * indent}{line}" for line in lines)


def _host_of(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
