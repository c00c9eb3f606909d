"""Sealing of provider keys on the client side, to the intake key that was pinned when the installation was set up."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import click
from nats.errors import Error as NatsError

from keyferry.cli.connection import Connection, run
from keyferry.cli.installation import find_home
from keyferry.cli.member_connection import MemberConnection
from keyferry.cli.problem import Problem
from keyferry.contracts.integration_formats import ImplausibleSecret, check_secret_format
from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.key import GetIntakeKey, IntakeKey
from keyferry.contracts.key_address import UnusableAddress, key_address
from keyferry.contracts.provider_edits import ListProviders, install_providers
from keyferry.contracts.providers import PROVIDERS, ImplausibleKey, check_format
from keyferry.contracts.routing_management import PROVIDER_LIST
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import INTAKE_KEY_GET
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.sealing.intake import seal_integration_secret, seal_key
from keyferry.sealing.private_keys import fingerprint
from keyferry.sealing.suite import UnknownSuite

PINNED = Path("secrets", "vault", "intake-key.pub")
"""In the installation's home: the vault's public intake key, base64url."""
PINNED_VARIABLE = "KEYFERRY_INTAKE_PUBLIC_KEY_FILE"
"""Names the file for an installation on another machine."""
_LONG_ENOUGH = 16
"""Characters from which a key may also be compared with a part of a file, such as the password in a URL."""


async def fetch_intake_key(me: Connection) -> IntakeKey:
    """Return the vault's intake key. Raises Problem if it is not the pinned one.

    For a member the console has compared it with the pinned one, and its connection vouches for the console.
    """
    received = await me.ask(INTAKE_KEY_GET, GetIntakeKey())
    if isinstance(me, MemberConnection) and PINNED_VARIABLE not in os.environ:
        return received
    file = _pinned_file()
    pinned = _read(file)
    if fingerprint(received.suite, received.public_key) != fingerprint(received.suite, pinned):
        raise Problem(
            "the intake key that came over the bus is not the pinned one, so nothing was sealed or sent",
            f"If the vault's intake key was changed on purpose, put its public half into {file}; otherwise somebody may"
            " intercept traffic between you and the vault",
        )
    return received


def seal(
    intake: IntakeKey, tenant: str, provider: str, base_url: str | None, fields: Mapping[str, str], key: Secret
) -> str:
    """Seal `key` for its tenant, provider and address. Raises Problem for what the vault would refuse."""
    try:
        address = key_address(
            provider, base_url, fields, operator_urls=intake.base_urls, private_networks=intake.private_networks
        )
    except UnusableAddress as error:
        raise Problem(str(error), "Nothing was sent") from None
    return seal_for_origin(intake, tenant, provider, address.origin, key)


def seal_for_origin(intake: IntakeKey, tenant: str, provider: str, origin: str, key: Secret) -> str:
    """Seal `key` for a known origin. Raises Problem if it cannot be sent as a key.

    What is unusual about its form is reported on standard error.
    """
    try:
        warning = check_format(provider, key.reveal())
        if file := _find_own_secret(find_home(os.environ), key):
            raise ImplausibleKey(f"this is a secret of this installation, from {file}, and no key of a provider")
        if warning is not None:
            click.echo(f"warning: {warning} Its test will show whether it works.", err=True)
        return seal_key(intake.public_key, tenant, provider, origin, key, suite=intake.suite)
    except ImplausibleKey as error:
        raise Problem(str(error), "Nothing was sent") from None
    except UnknownSuite as error:
        raise Problem(str(error), "Use the command of the running version") from None


def seal_integration(intake: IntakeKey, tenant: str, kind: IntegrationKind, secret: Secret) -> str:
    """Seal an integration secret for its owner and kind. Raises Problem for what cannot be one."""
    try:
        check_secret_format(kind, secret.reveal(), private_networks=intake.private_networks)
        if file := _find_own_secret(find_home(os.environ), secret):
            raise ImplausibleSecret(f"this is a secret of this installation, from {file}, and none of an integration")
        return seal_integration_secret(intake.public_key, tenant, kind.value, secret, suite=intake.suite)
    except ImplausibleSecret as error:
        raise Problem(str(error), "Nothing was sent") from None
    except UnknownSuite as error:
        raise Problem(str(error), "Use the command of the running version") from None


def require_provider(name: str) -> str:
    """Return `name` if it is a provider. Raises Problem, which lists the providers."""
    if name not in PROVIDERS:
        _load_added_providers()
    if name not in PROVIDERS:
        # The argument may be a key, so nothing longer than a provider's name is repeated.
        called = f" {name!r}" if len(name) <= max(map(len, PROVIDERS)) else " of that name"
        raise Problem(f"there is no provider{called}", f"The providers are {', '.join(PROVIDERS)}")
    return name


def _load_added_providers() -> None:
    """Learn which providers the operator has added. Without an answer those of this build are known, as before."""
    with suppress(Problem, BusError, Refused, NatsError):
        found = run(lambda me: me.ask(PROVIDER_LIST, ListProviders()))
        install_providers(PROVIDERS, [state.entry for state in found.providers if state.entry is not None])


def _find_own_secret(home: Path | None, key: Secret) -> Path | None:
    """Return the file in the home that holds `key`, or None. Not every secret of an installation has a form of its own."""
    text = key.reveal().encode()
    for file in sorted((home / "secrets").rglob("*")) if home else ():
        try:
            content = file.read_bytes() if file.is_file() else b""
        except OSError:  # somebody else's file; what cannot be read cannot have been copied from there
            continue
        if text in content.split() or (len(text) >= _LONG_ENOUGH and text in content):
            return file
    return None


def _pinned_file() -> Path:
    if named := os.environ.get(PINNED_VARIABLE):
        return Path(named)
    home = find_home(os.environ)
    if home is None:
        raise Problem(
            "there is no installation here with a pinned intake key, so nothing can be sealed",
            f"Run it where `make up` ran, or set KEYFERRY_HOME or {PINNED_VARIABLE}",
        )
    return home / PINNED


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise Problem(
            f"cannot read the pinned intake key {file}: {error.strerror}",
            "`make up` writes it; run this as the user who started the installation",
        ) from None
    except UnicodeDecodeError:
        raise Problem(
            f"the pinned intake key {file} is not text",
            "Restore it from a backup; in a home `make up` writes it anew once it is removed",
        ) from None
