"""Seals provider keys on this side, to the intake key that was pinned when the installation was made."""

import os
from collections.abc import Mapping
from pathlib import Path

from keyferry.cli.connection import OperatorConnection
from keyferry.cli.installation import find_home
from keyferry.cli.problem import Problem
from keyferry.contracts.key import GetIntakeKey, IntakeKey
from keyferry.contracts.key_address import UnusableAddress, key_address
from keyferry.contracts.providers import PROVIDERS, ImplausibleKey, check_format
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import INTAKE_KEY_GET
from keyferry.sealing.intake import seal_key
from keyferry.sealing.private_keys import fingerprint
from keyferry.sealing.suite import UnknownSuite

PINNED = Path("secrets", "vault", "intake-key.pub")
"""In the installation's home: the vault's public intake key, base64url."""
PINNED_VARIABLE = "KEYFERRY_INTAKE_PUBLIC_KEY_FILE"
"""Names the same file for an installation that is elsewhere."""


async def intake_key(me: OperatorConnection) -> IntakeKey:
    """The vault's intake key, which has to be the pinned one. Raises Problem."""
    told = await me.ask(INTAKE_KEY_GET, GetIntakeKey())
    file = _pinned_file()
    pinned = _read(file)
    if fingerprint(told.suite, told.public_key) != fingerprint(told.suite, pinned):
        raise Problem(
            "the intake key that came over the bus is not the pinned one, so nothing was sealed or sent",
            f"If the vault's intake key was changed on purpose, put its public half into {file}; otherwise somebody stands"
            " between you and the vault",
        )
    return told


def seal(
    intake: IntakeKey, tenant: str, provider: str, base_url: str | None, fields: Mapping[str, str], key: Secret
) -> str:
    """`key` sealed for its tenant, provider and address. Raises Problem for what the vault would refuse anyway."""
    try:
        address = key_address(
            provider, base_url, fields, operator_urls=intake.base_urls, private_networks=intake.private_networks
        )
    except UnusableAddress as error:
        raise Problem(str(error), "Nothing was sent") from None
    return seal_for_origin(intake, tenant, provider, address.origin, key)


def seal_for_origin(intake: IntakeKey, tenant: str, provider: str, origin: str, key: Secret) -> str:
    """`key` sealed for an origin that is known. Raises Problem for what cannot be a key of the provider."""
    try:
        check_format(provider, key.reveal())
        return seal_key(intake.public_key, tenant, provider, origin, key, suite=intake.suite)
    except ImplausibleKey as error:
        raise Problem(str(error), "Nothing was sent") from None
    except UnknownSuite as error:
        raise Problem(str(error), "Use the command of the version that runs") from None


def require_provider(name: str) -> str:
    """`name`, when it is a provider's. Raises Problem listing them."""
    if name not in PROVIDERS:
        # A key is easily given where its provider belongs, so nothing longer than a provider's name is repeated.
        called = f" {name!r}" if len(name) <= max(map(len, PROVIDERS)) else " of that name"
        raise Problem(f"there is no provider{called}", f"Known are {', '.join(PROVIDERS)}")
    return name


def _pinned_file() -> Path:
    if named := os.environ.get(PINNED_VARIABLE):
        return Path(named)
    home = find_home(os.environ)
    if home is None:
        raise Problem(
            "there is no installation here whose intake key is pinned, so nothing can be sealed",
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
