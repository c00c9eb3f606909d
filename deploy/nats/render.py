"""The NATS server's configuration, permissions included, rendered from the topology."""

from pathlib import Path

from keyferry.contracts.permissions import permissions
from keyferry.contracts.topology import MAX_MESSAGE_BYTES

_QUOTED = '"{}"'


def server_conf(
    public_keys: dict[str, str],
    *,
    port: int,
    store_dir: Path,
    host: str = "127.0.0.1",
    http_port: int | None = None,
) -> str:
    """A configuration file for one server, on loopback if nothing else is said. `public_keys` are the users' public nkeys by
    user name.

    `sync_interval: always`, because an acknowledged record of a paid call must survive a power cut; streams that may lose a
    little opt out one by one. A frozen subscriber must not slow its publishers (`no_fast_producer_stall`), and the buffer
    for one has to hold what the byte credits of one process allow, or a burst is lost in silence.
    """
    users = "\n".join(_user(name, key) for name, key in sorted(public_keys.items()))
    monitoring = f'http: "127.0.0.1:{http_port}"' if http_port is not None else ""
    return f"""server_name: keyferry
listen: "{host}:{port}"
{monitoring}
max_payload: {MAX_MESSAGE_BYTES}
max_pending: 64MB
write_deadline: "5s"
no_fast_producer_stall: true
jetstream {{
  store_dir: "{store_dir}"
  max_memory_store: 256MB
  max_file_store: 24GB
  sync_interval: always
}}
accounts {{
  KEYFERRY {{
    jetstream: enabled
    users: [
{users}
    ]
  }}
}}
"""


def _user(name: str, public_key: str) -> str:
    rights = permissions(name)
    responses = '\n          allow_responses: { max: 1, expires: "5s" }' if rights.responds else ""
    return f"""      # {name}
      {{ nkey: {public_key}, permissions: {{
          publish: {{ allow: [{_list(rights.publish)}] }}
          subscribe: {{ allow: [{_list(rights.subscribe)}] }}{responses}
      }} }}"""


def _list(subjects: tuple[str, ...]) -> str:
    return ", ".join(_QUOTED.format(subject) for subject in subjects)
