"""The ports on which processes serve their figures and health, and the list of them for Prometheus."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from deploy.embedded.errors import SettingsInvalid
from deploy.embedded.home import Home
from deploy.embedded.ports import reuse_or_find_port
from deploy.embedded.services import SERVICES, Addresses, ServiceRow, process_name
from keyferry.cli.installation import TARGETS_FILE

VARIABLE = "KEYFERRY_METRICS_PORT"


def list_processes() -> Iterator[tuple[ServiceRow, int]]:
    """Yield every process: its service and its slot."""
    for row in SERVICES:
        for slot in range(1, row.slots + 1):
            yield row, slot


def port_file(home: Home, process: str) -> Path:
    """Return the file that keeps the port of a process across restarts."""
    return home.run / f"metrics-{process}.port"


def choose(home: Home, taken: Collection[int], environment: Mapping[str, str]) -> dict[str, int]:
    """Return a port for each process, by its name; none of them is one of `taken`. None where the operator wants none.

    Raises SettingsInvalid: there is one port in the environment, and each process needs its own.
    """
    given = environment.get(VARIABLE) or ""
    if given == "0":
        return {}
    if given:
        raise SettingsInvalid(
            f"{VARIABLE} is {given!r}: each process has a port of its own, which the launcher chooses;"
            " leave it out, or set 0 for no metrics"
        )
    found: dict[str, int] = {}
    for row, slot in list_processes():
        name = process_name(row, slot)
        found[name] = reuse_or_find_port(port_file(home, name), {*taken, *found.values()})
    return found


def targets_file(home: Home) -> Path:
    """Return the list of targets for Prometheus, which exists while the system runs."""
    return home.path / TARGETS_FILE


def write_targets(home: Home, addresses: Addresses) -> None:
    """Write the list in the format of Prometheus' `file_sd_configs`, with the labels of each process."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(addresses.metrics_host, addresses.metrics_host)  # noqa: S104 - only compared
    targets = [
        {
            "targets": [f"{host}:{addresses.metrics_ports[process_name(row, slot)]}"],
            "labels": {
                "service": row.name.replace("_", "-"),
                "slot": str(slot),
                "instance": process_name(row, slot).replace("_", "-"),
            },
        }
        for row, slot in list_processes()
        if process_name(row, slot) in addresses.metrics_ports
    ]
    file = targets_file(home)
    draft = file.with_name(f".{file.name}.draft")
    draft.write_text(json.dumps(targets, indent=2) + "\n")
    draft.replace(file)
