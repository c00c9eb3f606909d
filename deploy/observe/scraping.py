"""Where Prometheus finds the processes. Pure."""

from typing import Any

from keyferry.contracts.topology import SERVICES, Role

PORT = 9464
"""Of every container's operations port."""
_WORKER_SLOTS = 2


def prometheus_configuration(rules: str, targets: str) -> dict[str, Any]:
    """Return Prometheus's configuration. `rules` and `targets` are the patterns of the files that it reads."""
    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "30s"},
        "rule_files": [rules],
        "scrape_configs": [
            {
                "job_name": "keyferry",
                "file_sd_configs": [{"files": [targets], "refresh_interval": "30s"}],
            }
        ],
    }


def compose_targets() -> list[dict[str, Any]]:
    """Return the processes of the Compose file, in the format of `file_sd_configs`."""
    found: list[dict[str, Any]] = []
    for role in SERVICES:
        slots = _WORKER_SLOTS if role is Role.PROVIDER_WORKER else 1
        for slot in range(1, slots + 1):
            host = f"{role.value}-{slot}" if slots > 1 else role.value
            labels = {"service": role.value, "slot": str(slot), "instance": f"{role.value}-{slot}"}
            found.append({"targets": [f"{host}:{PORT}"], "labels": labels})
    return found
