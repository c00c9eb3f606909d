"""KEYFERRY_BILLING=demo: doubles of Stripe, Lago and a mail server beside the services, which are set to use them."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.billing_demo.demo_secrets import DemoSecrets
from deploy.embedded.errors import LaunchFailed, SettingsInvalid
from deploy.embedded.home import Home
from deploy.embedded.managed_process import ProcessConfig, RestartOrder
from deploy.embedded.ports import LOOPBACK, reuse_or_find_port
from deploy.embedded.process import ProcessSpec
from deploy.embedded.services import ROOT, Addresses
from deploy.postgres.roles import write_secret
from keyferry.cli.connection import OperatorConnection, operator
from keyferry.cli.installation import locate
from keyferry.cli.key_sealing import PINNED
from keyferry.cli.problem import Problem
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.integration_management import (
    INTEGRATION_SECRET_LIST,
    INTEGRATION_SECRET_REMOVE,
    INTEGRATION_SECRET_ROTATE,
    INTEGRATION_SECRET_SAVE,
)
from keyferry.contracts.integration_secrets import (
    IntegrationKind,
    IntegrationSecret,
    ListIntegrationSecrets,
    RemoveIntegrationSecret,
    RotateIntegrationSecret,
    SaveIntegrationSecret,
)
from keyferry.contracts.key import GetIntakeKey
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import INTAKE_KEY_GET
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.process.settings import SettingsError
from keyferry.sealing.intake import seal_integration_secret

SETTING = "KEYFERRY_BILLING"
DEMO = "demo"
SERVICE = "billing_demo"
_NAME = "billing demo"
"""The name of the secrets in the vault."""
_ACTOR = "launcher"
_GUIDE = "docs/guides/billing.md"
_Work = Callable[[OperatorConnection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class DemoPorts:
    """Where the doubles listen; the same at every start."""

    stripe: int
    lago: int
    mail: int
    smtp: int

    @classmethod
    def choose(cls, home: Home, taken: Collection[int]) -> "DemoPorts":
        """Return the ports of a home's doubles, none of them one of `taken`."""
        found: list[int] = []
        for name in ("stripe", "lago", "mail", "smtp"):
            found.append(reuse_or_find_port(home.run / f"billing-demo-{name}.port", {*taken, *found}))
        return cls(*found)

    def settings(self) -> dict[str, str]:
        """Return the settings by which billing and notifier use the doubles."""
        return {
            "KEYFERRY_STRIPE_URL": f"http://{LOOPBACK}:{self.stripe}",
            "KEYFERRY_LAGO_URL": f"http://{LOOPBACK}:{self.lago}",
            "KEYFERRY_LAGO_PLAN": "keyferry",
            "KEYFERRY_SMTP_HOST": LOOPBACK,
            "KEYFERRY_SMTP_PORT": str(self.smtp),
            "KEYFERRY_SMTP_TLS": "off",
        }


def is_demo(environment: Mapping[str, str]) -> bool:
    """Return whether the doubles are wanted. Raises SettingsInvalid for another value, and for settings that contradict."""
    wanted = environment.get(SETTING)
    if not wanted:
        return False
    if wanted != DEMO:
        raise SettingsInvalid(
            f"{SETTING}={wanted!r} is not known: set it to {DEMO} for doubles of Stripe, Lago and a mail server on this"
            f" machine, or leave it out to use real ones as {_GUIDE} describes"
        )
    names = [*DemoPorts(0, 0, 0, 0).settings(), "KEYFERRY_SMTP_USER"]
    if given := [name for name in names if environment.get(name)]:
        raise SettingsInvalid(
            f"{SETTING}={DEMO} uses doubles on this machine, and {', '.join(given)} names others: leave out one or the other"
        )
    return True


def saved_file(home: Home) -> Path:
    """Return the file that says which secrets an earlier start has saved in the vault."""
    return home.secrets / "billing-demo" / "saved.json"


class BillingDemo:
    """The doubles of one home: their process, and their secrets in the vault."""

    def __init__(self, home: Home, ports: DemoPorts) -> None:
        self._home = home
        self._saved = saved_file(home)
        self._directory = self._saved.parent
        self.ports = ports

    def process_config(self, addresses: Addresses) -> ProcessConfig:
        """Return the process of the doubles; it sends Stripe's webhooks to the console."""
        ports = self.ports
        options = {
            "--secrets": str(self._directory),
            "--webhook": f"{addresses.console_url}/webhooks/stripe",
            "--stripe-port": str(ports.stripe),
            "--lago-port": str(ports.lago),
            "--mail-port": str(ports.mail),
            "--smtp-port": str(ports.smtp),
        }
        given = [part for option in options.items() for part in option]
        argv = (sys.executable, "-m", f"deploy.{SERVICE}", *given)
        spec = ProcessSpec(name=SERVICE, argv=argv, env={"PYTHONUNBUFFERED": "1"}, cwd=ROOT)
        return ProcessConfig(service=SERVICE, make_spec=lambda: spec, restart_order=RestartOrder.STOP_FIRST)

    def describe(self) -> str:
        """Return the lines about the doubles for the message of a started system."""
        return (
            f"  billing demo   mails at http://{LOOPBACK}:{self.ports.mail}/, Stripe at http://{LOOPBACK}:{self.ports.stripe}\n"
            "                 (no bank is asked; buy credits in the console, and pay on the page that opens)\n"
        )

    def save_secrets(self) -> None:
        """Put the doubles' secrets into the vault of the running system. Call it outside an event loop. Raises LaunchFailed."""
        _run(self._home, self._save)

    async def _save(self, session: OperatorConnection) -> None:
        keys = DemoSecrets.ensure(self._directory)
        wanted = {
            IntegrationKind.STRIPE_API_KEY: keys.stripe_api_key,
            IntegrationKind.STRIPE_WEBHOOK_SECRET: keys.stripe_webhook_secret,
            IntegrationKind.LAGO_API_KEY: keys.lago_api_key,
        }
        stored = await _list(session)
        for kind in wanted:
            if (known := stored.get(kind)) is not None and known.name != _NAME:
                raise LaunchFailed(
                    f"the vault has {kind.value} {known.masked} ({known.name}), which {SETTING}={DEMO} would replace: start"
                    f" without it, or remove that secret with `keyferry integrations remove {known.secret_id} --tenant"
                    f" {PLATFORM_TENANT}`"
                )
        saved = _read_json(self._saved)
        suite = (await session.ask(INTAKE_KEY_GET, GetIntakeKey())).suite
        for kind, secret in wanted.items():
            known = stored.get(kind)
            if known is None or saved.get(kind.value) != known.secret_id:
                saved[kind.value] = (await self._put(session, kind, secret, suite, known)).secret_id
        write_secret(self._saved, json.dumps(saved))

    async def _put(
        self,
        session: OperatorConnection,
        kind: IntegrationKind,
        secret: Secret,
        suite: str,
        known: IntegrationSecret | None,
    ) -> IntegrationSecret:
        intake = (self._home.path / PINNED).read_text().strip()
        sealed = seal_integration_secret(intake, PLATFORM_TENANT, kind.value, secret, suite=suite)
        if known is None:
            return await session.ask(
                INTEGRATION_SECRET_SAVE,
                SaveIntegrationSecret(tenant=PLATFORM_TENANT, kind=kind, name=_NAME, sealed=sealed, actor=_ACTOR),
            )
        return await session.ask(
            INTEGRATION_SECRET_ROTATE,
            RotateIntegrationSecret(
                tenant=PLATFORM_TENANT, secret_id=known.secret_id, sealed=sealed, overlap_seconds=0, actor=_ACTOR
            ),
        )


def remove_secrets(home: Home) -> None:
    """Remove the doubles' secrets from the vault of the running system, which now uses others. Raises LaunchFailed."""
    _run(home, _remove)
    saved_file(home).unlink()


async def _remove(session: OperatorConnection) -> None:
    for known in (await _list(session)).values():
        if known.name == _NAME:
            await session.ask(
                INTEGRATION_SECRET_REMOVE,
                RemoveIntegrationSecret(tenant=PLATFORM_TENANT, secret_id=known.secret_id, actor=_ACTOR),
            )


def _run(home: Home, work: _Work) -> None:
    async def connected() -> None:
        async with operator(locate({"KEYFERRY_HOME": str(home.path)})) as session:
            await work(session)

    try:
        asyncio.run(connected())
    except Problem as problem:
        raise LaunchFailed("\n".join(problem.lines())) from None
    except (BusError, Refused, MalformedMessage, SettingsError) as error:
        raise LaunchFailed(f"the secrets of the billing demo cannot be changed in the vault: {error}") from None


async def _list(session: OperatorConnection) -> dict[IntegrationKind, IntegrationSecret]:
    found = await session.ask(INTEGRATION_SECRET_LIST, ListIntegrationSecrets(tenant=PLATFORM_TENANT))
    return {secret.kind: secret for secret in found.secrets}


def _read_json(file: Path) -> dict[str, str]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
