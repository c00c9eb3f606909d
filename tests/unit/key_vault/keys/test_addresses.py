"""A key for an address that the gateway never calls is refused before it is opened or sent anywhere."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.addresses import AddressPolicy
from keyferry.contracts.key import TryKey
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.sealing.intake import IntakeOpener, seal_key
from keyferry.tiers.byok import ByokSwitch
from keyferry.tiers.file import BUNDLED_TIERS, Tiers
from services.key_vault.database.errors import RequestRejected
from services.key_vault.keys.importer import ImportRules, KeyImporter

NOW = datetime(2026, 11, 1, tzinfo=UTC)
OPENER = IntakeOpener(X25519PrivateKey.generate())


def importer(*allow: str) -> KeyImporter:
    networks = tuple(IPv4Network(text) for text in allow)
    rules = ImportRules(
        byok=ByokSwitch(),
        operator_urls={},
        private_networks=bool(networks),
        addresses=AddressPolicy(networks),
        revert_after=timedelta(days=7),
        tiers=Tiers.parse(BUNDLED_TIERS.read_text()),
    )
    return KeyImporter(OPENER, lambda tenant, secret: "0" * 16, rules)


def command(base_url: str, origin: str) -> TryKey:
    sealed = seal_key(OPENER.intake_key.public_key, "acme", "custom", origin, Secret("secret-key"))
    return TryKey(tenant="acme", provider="custom", sealed=sealed, base_url=base_url)


@pytest.mark.parametrize(
    ("base_url", "allow"),
    [
        ("https://127.0.0.1/v1", ()),
        ("https://localhost/v1", ()),
        ("https://169.254.169.254/v1", ("192.168.7.0/24",)),
        ("http://192.168.8.1:11434/v1", ("192.168.7.0/24",)),
        ("http://8.8.8.8:11434/v1", ("192.168.7.0/24",)),
    ],
)
def test_an_address_that_is_never_called_is_refused(base_url: str, allow: tuple[str, ...]) -> None:
    with pytest.raises(RequestRejected, match="KEYFERRY_EGRESS_ALLOW") as refused:
        importer(*allow).import_new(command(base_url, base_url.removesuffix("/v1")), "main", NOW)
    assert refused.value.code is ErrorCode.INVALID


@pytest.mark.parametrize(
    ("base_url", "allow"), [("https://8.8.8.8/v1", ()), ("http://192.168.7.4:11434/v1", ("192.168.7.0/24",))]
)
def test_an_address_that_may_be_called_is_accepted(base_url: str, allow: tuple[str, ...]) -> None:
    key, secret = importer(*allow).import_new(command(base_url, base_url.removesuffix("/v1")), "main", NOW)
    assert (key.base_url, secret.reveal()) == (base_url, "secret-key")
