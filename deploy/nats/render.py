"""The NATS server's configuration, permissions included, rendered from the topology."""

from pathlib import Path

from deploy.nats.cluster import NatsCluster, TlsFiles, quote, render_client_tls, render_cluster
from keyferry.contracts.permissions import permissions
from keyferry.contracts.server_health import SYSTEM_HEALTH_SUBJECT, SYSTEM_IDENTITY_SUBJECT
from keyferry.contracts.topology import MAX_MESSAGE_BYTES, SERVER_HEALTH, SERVER_IDENTITY

_QUOTED = '"{}"'


def render_server_conf(
    public_keys: dict[str, str],
    *,
    port: int,
    store_dir: Path,
    host: str = "127.0.0.1",
    probe_key: str | None = None,
    name: str = "keyferry",
    tls: TlsFiles | None = None,
    cluster: NatsCluster | None = None,
) -> str:
    """Render the configuration file of one server; `public_keys` are the users' public nkeys by user name.

    `sync_interval: always`, because an acknowledged record of a paid call must survive a power cut; streams that may lose
    recent messages opt out individually. A frozen subscriber must not slow its publishers (`no_fast_producer_stall`), and
    `max_pending` has to hold the byte credits of one process, or a burst would be dropped silently.

    The system account has no user. It exports one request, for the server's health. `probe_key` is that of a user without any
    right, with which the launcher sees that the server has read this file.

    `name` must differ between the servers of a cluster; everything else about users and limits must be the same there. Raises
    ValueError for text that a configuration cannot hold and for a cluster that strangers could join.
    """
    return f"""server_name: {quote(name)}
listen: "{host}:{port}"
max_payload: {MAX_MESSAGE_BYTES}
max_pending: 64MB
write_deadline: "5s"
no_fast_producer_stall: true
{render_client_tls(tls)}{render_cluster(cluster)}jetstream {{
  store_dir: "{store_dir}"
  max_memory_store: 256MB
  max_file_store: 32GB
  sync_interval: always
}}
{_render_accounts(_render_users(public_keys, probe_key))}"""


def _render_accounts(users: str) -> str:
    return f"""system_account: SYSTEM
accounts {{
  SYSTEM {{
    exports: [
      {{ service: "{SYSTEM_HEALTH_SUBJECT}", response: stream, accounts: [KEYFERRY] }}
      {{ service: "{SYSTEM_IDENTITY_SUBJECT}", response: stream, accounts: [KEYFERRY] }}
    ]
  }}
  KEYFERRY {{
    jetstream: enabled
    imports: [
      {{ service: {{ account: SYSTEM, subject: "{SYSTEM_HEALTH_SUBJECT}" }}, to: "{SERVER_HEALTH}" }}
      {{ service: {{ account: SYSTEM, subject: "{SYSTEM_IDENTITY_SUBJECT}" }}, to: "{SERVER_IDENTITY}" }}
    ]
    users: [
{users}
    ]
  }}
}}
"""


def _render_users(public_keys: dict[str, str], probe_key: str | None) -> str:
    users = [_render_user(name, key) for name, key in sorted(public_keys.items())]
    return "\n".join(users if probe_key is None else [*users, _render_probe(probe_key)])


def _render_user(name: str, public_key: str) -> str:
    rights = permissions(name)
    limits = f'{{ max: 1, expires: "{rights.response_seconds}s" }}'
    responses = f"\n          allow_responses: {limits}" if rights.responds else ""
    return f"""      # {name}
      {{ nkey: {public_key}, permissions: {{
          publish: {{ allow: [{_format_subjects(rights.publish)}] }}
          subscribe: {{ allow: [{_format_subjects(rights.subscribe)}] }}{responses}
      }} }}"""


def _render_probe(public_key: str) -> str:
    return f"""      # the launcher's probe
      {{ nkey: {public_key}, permissions: {{ publish: {{ deny: [">"] }}, subscribe: {{ deny: [">"] }} }} }}"""


def _format_subjects(subjects: tuple[str, ...]) -> str:
    return ", ".join(_QUOTED.format(subject) for subject in subjects)
