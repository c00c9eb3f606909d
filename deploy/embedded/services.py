"""The services of the embedded system and the environment of each process.

The environment and argv never contain a secret, only the path of its file.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.embedded.home import Home
from deploy.embedded.managed_process import ProcessConfig, RestartOrder
from deploy.embedded.process import ProcessSpec
from deploy.embedded.secret_files import (
    AUDIT_KEY,
    CONTENT_KEY,
    CONTENT_PUBLIC_KEY,
    CREDIT_KEY,
    CREDIT_PUBLIC_KEY,
    DEPLOYMENT_ID,
    FINGERPRINT_KEY,
    GRANT_KEY,
    GRANT_KEYS,
    IDENTITY_KEY,
    INTAKE_KEY,
    INTAKE_PUBLIC_KEY,
    KEKS,
    LOGIN_KEY,
    OPERATOR_TOKEN,
    PEPPER,
    SIGNING_KEY,
    VAULT_PUBLIC_KEY,
    SecretFile,
    enrolled_workers_file,
)
from keyferry.contracts.browser_origin import ORIGIN_PATTERN
from keyferry.contracts.topology import internal_client

SET_BY_THE_LAUNCHER = frozenset(
    {
        "KEYFERRY_NATS_URL",
        "KEYFERRY_NATS_NKEY_FILE",
        "KEYFERRY_SLOT",
        "KEYFERRY_DATABASE_URL_FILE",
        "KEYFERRY_SPOOL_DIR",
        "KEYFERRY_ENROLLED_WORKERS_FILE",
        *(
            secret.setting
            for secret in (
                AUDIT_KEY,
                CONTENT_KEY,
                CONTENT_PUBLIC_KEY,
                CREDIT_KEY,
                CREDIT_PUBLIC_KEY,
                DEPLOYMENT_ID,
                FINGERPRINT_KEY,
                GRANT_KEY,
                GRANT_KEYS,
                IDENTITY_KEY,
                INTAKE_KEY,
                INTAKE_PUBLIC_KEY,
                KEKS,
                LOGIN_KEY,
                OPERATOR_TOKEN,
                PEPPER,
                SIGNING_KEY,
                VAULT_PUBLIC_KEY,
            )
        ),
    }
)
"""Settings that are set for each process; what the operator's environment has for them is not used."""
NOT_ON_LOOPBACK = frozenset(
    f"KEYFERRY_{name}"
    for name in (
        *("NATS_CA_FILE", "NATS_CERT_FILE", "NATS_KEY_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE"),
        "DATABASE_REPLICA_URL_FILE",
    )
)
"""Settings for several machines: everything here is on loopback, without TLS and with one database."""
ROOT = Path(__file__).parents[2]
DEFAULT_CONSOLE_PORT = 8401
_SETTING_PREFIXES = ("KEYFERRY_", "OTEL_")
_NOT_ABOUT_A_RUN = {"KEYFERRY_HOME", "KEYFERRY_DEBUG"}
_INHERITED_PREFIXES = ("KEYFERRY_", "OTEL_", "LC_")
_INHERITED = {"HOME", "LANG", "NO_PROXY", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ", "no_proxy"}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_ORIGIN = re.compile(ORIGIN_PATTERN[1:-1], re.ASCII)
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where NATS, the API, the management API and the operations ports listen."""

    nats_url: str
    http_host: str
    http_port: int
    console_port: int = DEFAULT_CONSOLE_PORT
    metrics_host: str = "127.0.0.1"
    metrics_ports: Mapping[str, int] = field(default_factory=dict)
    """Where each process, by its name, serves its figures and health."""

    @property
    def http_url(self) -> str:
        """The base URL of the API for clients on this machine."""
        return f"http://{self._host}:{self.http_port}"

    @property
    def console_url(self) -> str:
        """The base URL of the management API for clients on this machine."""
        return f"http://{self._host}:{self.console_port}"

    @property
    def _host(self) -> str:
        return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.http_host, self.http_host)  # noqa: S104 - only compared


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """One service, run as `python -m services.<name>`."""

    name: str
    slots: int = 1
    has_tables: bool = False
    secrets: tuple[SecretFile, ...] = ()
    """Secret files besides its nkey seed and its database URL."""
    has_spool: bool = False
    http_port: Callable[[Addresses], int] | None = None
    """The port of a service that serves HTTP."""
    calls_providers: bool = False
    restart_order: RestartOrder = RestartOrder.START_FIRST


WORKER_SLOTS = 2
SERVICES = (
    ServiceRow(name="tenant_directory", has_tables=True, secrets=(PEPPER,)),
    ServiceRow(name="usage_ledger", has_tables=True, secrets=(AUDIT_KEY, CONTENT_KEY, CREDIT_KEY)),
    ServiceRow(name="health_monitor"),
    ServiceRow(
        name="key_vault",
        has_tables=True,
        secrets=(
            DEPLOYMENT_ID,
            KEKS,
            INTAKE_KEY,
            SIGNING_KEY,
            FINGERPRINT_KEY,
            enrolled_workers_file(WORKER_SLOTS),
            GRANT_KEYS,
            CREDIT_PUBLIC_KEY,
        ),
    ),
    ServiceRow(name="router", has_tables=True),
    ServiceRow(
        name="provider_worker",
        slots=WORKER_SLOTS,
        has_spool=True,
        secrets=(IDENTITY_KEY, VAULT_PUBLIC_KEY, CONTENT_PUBLIC_KEY),
        calls_providers=True,
        restart_order=RestartOrder.STOP_FIRST,
    ),
    ServiceRow(name="ingress", secrets=(PEPPER, GRANT_KEY), http_port=lambda addresses: addresses.http_port),
    ServiceRow(
        name="console",
        secrets=(OPERATOR_TOKEN, INTAKE_PUBLIC_KEY),
        http_port=lambda addresses: addresses.console_port,
    ),
    ServiceRow(name="billing", has_tables=True, secrets=(DEPLOYMENT_ID,)),
    ServiceRow(name="notifier", has_tables=True),
)
"""Stopped from the last to the first. They start concurrently: each waits by itself for what it needs."""

DEMO_TENANT = "demo"
DEMO_CLIENT = internal_client(DEMO_TENANT, "main")
"""The NATS user of the demo tenant's programs on the bus. The launcher makes its nkey; the first chat registers it."""


def make_process_configs(home: Home, addresses: Addresses, environment: Mapping[str, str]) -> Iterator[ProcessConfig]:
    """Yield the configuration of every process of every service."""
    for row in SERVICES:
        for slot in range(1, row.slots + 1):
            yield _make_process_config(row, slot, home, addresses, environment)


def nats_user(row: ServiceRow, slot: int) -> str:
    """Return the NATS user of a process: hyphens for underscores, and one user per slot."""
    user = row.name.replace("_", "-")
    return f"{user}-{slot}" if row.slots > 1 else user


def process_name(row: ServiceRow, slot: int) -> str:
    """Return the name of a process: its service, and its slot if there are several."""
    return f"{row.name}-{slot}" if row.slots > 1 else row.name


def _make_process_config(
    row: ServiceRow, slot: int, home: Home, addresses: Addresses, environment: Mapping[str, str]
) -> ProcessConfig:
    replicated = row.slots > 1
    spec = ProcessSpec(
        name=process_name(row, slot),
        argv=(sys.executable, "-m", f"services.{row.name}"),
        env=make_environment(row, slot, home, addresses, environment),
        cwd=ROOT,
    )
    return ProcessConfig(
        service=row.name, make_spec=lambda: spec, slot=slot, replicated=replicated, restart_order=row.restart_order
    )


def make_environment(
    row: ServiceRow, slot: int, home: Home, addresses: Addresses, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the whole environment of a process."""
    env = _inherit_env(row, environment) | _make_env(row, slot, home, addresses)
    if row.name == "console":
        env["KEYFERRY_API_URL"] = environment.get("KEYFERRY_API_URL") or addresses.http_url
        if has_built_in_login(addresses, environment):
            env[LOGIN_KEY.setting] = str(LOGIN_KEY.path(home, slot))
    if row.name == "billing":
        env["KEYFERRY_PUBLIC_URL"] = console_origin(addresses, environment)
    if row.name == "ingress":
        env["KEYFERRY_CORS_ORIGINS"] = _origins_of_pages(addresses, environment)
    return env


def has_built_in_login(addresses: Addresses, environment: Mapping[str, str]) -> bool:
    """Return whether people sign in with the login key.

    The console refuses to start with it where others can reach it, or where an identity provider knows the people.
    """
    return addresses.http_host in _LOOPBACK and not environment.get("KEYFERRY_OIDC_ISSUER")


def console_origin(addresses: Addresses, environment: Mapping[str, str]) -> str:
    """Return where browsers reach the console, without a slash at the end."""
    return (environment.get("KEYFERRY_PUBLIC_URL") or addresses.console_url).rstrip("/")


def _origins_of_pages(addresses: Addresses, environment: Mapping[str, str]) -> str:
    """Return the pages that may call the API: those that the operator names, and the console, which has a playground."""
    own = console_origin(addresses, environment).lower()
    known = environment.get("KEYFERRY_CORS_ORIGINS") or ""
    # An invalid KEYFERRY_PUBLIC_URL is reported by the console, which reads it.
    return ",".join(filter(None, (known, own if _ORIGIN.fullmatch(own) else "")))


def operator_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings in an environment that change how a system runs; empty values count as not set."""
    return {
        name: value
        for name, value in environment.items()
        if value
        and (name.startswith(_SETTING_PREFIXES) or name in _PROXIES)
        and name not in SET_BY_THE_LAUNCHER | NOT_ON_LOOPBACK | _NOT_ABOUT_A_RUN
    }


def _inherit_env(row: ServiceRow, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the operator's settings and what any program needs; anything else may hold secrets of other programs.

    Proxies are only for calls to providers.
    """
    wanted = _INHERITED | (_PROXIES if row.calls_providers else set())
    return {
        name: value
        for name, value in environment.items()
        if (name in wanted or name.startswith(_INHERITED_PREFIXES)) and name not in NOT_ON_LOOPBACK
    }


def _make_env(row: ServiceRow, slot: int, home: Home, addresses: Addresses) -> dict[str, str]:
    env = {
        "KEYFERRY_NATS_URL": addresses.nats_url,
        "KEYFERRY_NATS_NKEY_FILE": str(home.seed_file(nats_user(row, slot))),
        "KEYFERRY_SLOT": str(slot),
        "KEYFERRY_METRICS_HOST": addresses.metrics_host,
        "KEYFERRY_METRICS_PORT": str(addresses.metrics_ports.get(process_name(row, slot), 0)),
    }
    if row.has_tables:
        env["KEYFERRY_DATABASE_URL_FILE"] = str(home.database_secrets / f"{row.name}.url")
    if row.has_spool:
        env["KEYFERRY_SPOOL_DIR"] = str(home.spool(slot))
    env |= {secret.setting: str(secret.path(home, slot)) for secret in row.secrets}
    if row.http_port is not None:
        env |= {"KEYFERRY_HTTP_HOST": addresses.http_host, "KEYFERRY_HTTP_PORT": str(row.http_port(addresses))}
    return env
