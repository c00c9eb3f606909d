"""The table of services that the Helm chart reads, rendered from the services of this build and the topology.

    python -m deploy.helm.render [--check]

`keyferry/files/services.json` has, for each service, its module, its files and which others it talks to: the chart makes its
workloads and network policies of it, so none of them is written twice.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.embedded.services import DEFAULT_CONSOLE_PORT, SERVICES, ServiceRow
from deploy.embedded.system import DEFAULT_HTTP_PORT
from keyferry.contracts import topology

CHART = Path(__file__).parent / "keyferry"
TABLE = CHART / "files" / "services.json"
NKEY, DATABASE = "KEYFERRY_NATS_NKEY_FILE", "KEYFERRY_DATABASE_URL_FILE"
_PORTS = {"ingress": DEFAULT_HTTP_PORT, "console": DEFAULT_CONSOLE_PORT}
_CALLS_OUTSIDE = {
    "provider_worker": "providers",
    "billing": "Stripe, Lago and providers' figures",
    "notifier": "mail servers and webhooks",
    "console": "the identity provider",
    "key_vault": "KMS or a transit engine",
}
"""Services that open connections beyond the bus and the database, and to what."""
_PER_SLOT = frozenset({"KEYFERRY_IDENTITY_KEY_FILE"})
"""Files that each slot of a service has for itself, beside its nkey seed."""


def describe_service(row: ServiceRow) -> dict[str, object]:
    """Return what the chart has to know of a service. `files` and `slotFiles` are file names by setting."""
    role = row.name.replace("_", "-")
    assert role in topology.SERVICES, f"{role} is no role of the topology"
    own = {secret.setting: secret.name for secret in row.secrets}
    files = {NKEY: "nkey.seed"} | ({DATABASE: "database.url"} if row.has_tables else {}) | own
    replicated = row.slots > 1
    slot_files = {setting: name for setting, name in files.items() if replicated and setting in {NKEY, *_PER_SLOT}}
    return {
        "name": role,
        "module": f"services.{row.name}",
        "replicatedBySlot": replicated,
        "hasDatabase": row.has_tables,
        "hasSpool": row.has_spool,
        "callsOutside": _CALLS_OUTSIDE.get(row.name, ""),
        "httpPort": _PORTS.get(row.name, 0),
        "files": {setting: name for setting, name in files.items() if setting not in slot_files},
        "slotFiles": slot_files,
    }


def render_table() -> str:
    """Return the content of the file."""
    return json.dumps({"services": [describe_service(row) for row in SERVICES]}, indent=2) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file, or only compare it; return 1 if it differs."""
    parser = argparse.ArgumentParser(prog="python -m deploy.helm.render", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only report whether the file is current")
    wanted = render_table()
    if parser.parse_args(arguments).check:
        if TABLE.read_text() == wanted:
            return 0
        print(f"{TABLE.name} of the Helm chart is not current: run `make schemas`", file=sys.stderr)
        return 1
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
