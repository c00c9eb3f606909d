"""Settings of the key vault."""

import os
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from keyferry.contracts.key import Provider
from keyferry.contracts.money import Usd
from keyferry.contracts.secret import Secret
from keyferry.runtime.byok import ByokSettings
from keyferry.runtime.process.settings import DatabaseSettings, Networks, SecretFile, SettingsError, read_secret
from keyferry.runtime.tiers import load_tiers
from keyferry.sealing.framing import from_base64
from keyferry.sealing.intake import IntakeOpener
from keyferry.sealing.private_keys import BadKeyFile, opening_key, signing_key, verifying_key
from keyferry.tiers.file import BUNDLED_TIERS
from services.key_vault.encryption.kek_providers import aws_kms, vault_transit
from services.key_vault.encryption.kek_providers.file import FileKeyring, environment_keyring
from services.key_vault.encryption.kek_providers.protocol import KekProvider
from services.key_vault.keys.reminders import ReminderPolicy
from services.key_vault.leases.grant_keys import BadGrantKeys, GrantKeys, ServiceOf
from services.key_vault.leases.grants import GrantCheck
from services.key_vault.leases.lease_watch import MOST_LEASES
from services.key_vault.leases.registrations import BadEnrolment, EnrolledWorkers
from services.key_vault.maintenance.kek_age import KekAgePolicy

T = TypeVar("T")
V = TypeVar("V")

_FINGERPRINT_KEY_BYTES = 32
_TRANSIT = "KEYFERRY_KEK_PROVIDER=vault_transit"


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _urls(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in _split(value)]
    if any(not separator for _, separator, _ in pairs):
        raise ValueError("write PROVIDER=URL, separated by commas: openai=https://gateway.example.com/v1")
    return {provider.strip(): url.strip() for provider, _, url in pairs}


ProviderUrls = Annotated[dict[Provider, str], NoDecode, BeforeValidator(_urls)]
_DEPLOYMENT_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


class VaultSettings(DatabaseSettings, ByokSettings):
    """Settings of the key vault. Every secret is in a file that only its owner may read."""

    deployment_id_file: SecretFile
    """This installation's name. Every record is bound to it, so no other installation can decrypt one."""
    kek_provider: Literal["file", "env", "aws_kms", "vault_transit"] = "file"
    """The KEK provider."""
    keks_file: SecretFile | None = None
    """With `file`: the keyring, lines of `name base64url(32 bytes)`, the first one primary."""
    aws_kms_key: str | None = None
    """With `aws_kms`: id, ARN or alias of the key; region and credentials as boto3 finds them."""
    vault_transit_url: str | None = None
    vault_transit_key: str | None = None
    vault_transit_token_file: SecretFile | None = None
    """With `vault_transit`: the server, the key's name, and a file with a token that an agent keeps fresh."""
    intake_key_file: SecretFile
    signing_key_file: SecretFile
    fingerprint_key_file: SecretFile
    enrolled_workers_file: SecretFile
    """JSON: worker id -> base64url Ed25519 public key."""
    grants: Literal["required", "off"] = "required"
    """Whether keys are released only for signed requests that are under way; `off` while processes of earlier versions run."""
    grant_keys_file: SecretFile | None = None
    """JSON: `ingress` and `operator` -> the secret that each signs grants with, in base64url."""
    credits: Literal["required", "off"] = "required"
    """The routers' setting: with `required` keys of the platform are released only for leases of credit."""
    credit_public_key_file: SecretFile | None = None
    """The public half of the key with which the ledger certifies leases of credit."""
    lease_alarm_per_minute: int = Field(default=MOST_LEASES, ge=1, le=1_000_000)
    """How many keys one worker may lease within a minute before that raises an alarm."""
    lease_seconds: int = Field(default=60, ge=1, le=300)
    """How long a worker may keep a leased key."""
    revert_seconds: int = Field(default=7 * 24 * 3600, ge=0)
    """How long the key before a rotation is kept."""
    egress_allow: Networks = ()
    """The workers' setting: with networks here, base URLs may be plain http and use any port."""
    provider_urls: ProviderUrls = Field(default_factory=dict)
    """Company gateways in place of providers: `openai=https://gateway.example.com/v1,…`."""
    kek_days: int = Field(default=90, ge=0, le=36_500)
    """After how many days a KEK is due for rotation; 0 is never."""
    kek_automatic: bool = True
    """Whether the vault then rotates it by itself, where it can."""
    key_rotation_days: int = Field(default=90, ge=0, le=36_500)
    """After how many days a provider key is reported as due for rotation; 0 is never."""
    credit_low_usd: Usd = Field(default=Decimal(5), ge=0)
    """Below how many US dollars of credit a key is reported, where its provider reports credit; 0 is never."""
    tier_file: Path = BUNDLED_TIERS
    """What each tier includes: the same file as the router's and the tenant directory's."""
    start_undecryptable: bool = False
    """Start although stored keys cannot be decrypted, and mark them as undecryptable."""

    def revert_after(self) -> timedelta:
        """Return how long the key before a rotation is kept."""
        return timedelta(seconds=self.revert_seconds)

    def kek_age_policy(self) -> KekAgePolicy:
        """Return when a KEK is due for rotation, and whether the vault rotates it."""
        return KekAgePolicy(timedelta(days=self.kek_days) or None, self.kek_automatic)

    def reminder_policy(self) -> ReminderPolicy:
        """Return when the owners of provider keys are reminded."""
        return ReminderPolicy(timedelta(days=self.key_rotation_days) or None, self.credit_low_usd or None)

    def keks(self) -> KekProvider:
        """Return the KEK provider. Raises SettingsError."""
        if self.kek_provider == "env":
            return environment_keyring(os.environ)
        if self.kek_provider == "aws_kms":
            return aws_kms.connect(self._required_kms_key())
        if self.kek_provider == "vault_transit":
            return vault_transit.connect(*self._required_transit())
        return FileKeyring(_require(self.keks_file, "KEYFERRY_KEKS_FILE", "KEYFERRY_KEK_PROVIDER=file"))

    def _required_kms_key(self) -> str:
        return _require(self.aws_kms_key, "KEYFERRY_AWS_KMS_KEY", "KEYFERRY_KEK_PROVIDER=aws_kms")

    def _required_transit(self) -> tuple[str, str, Path]:
        return (
            _require(self.vault_transit_url, "KEYFERRY_VAULT_TRANSIT_URL", _TRANSIT),
            _require(self.vault_transit_key, "KEYFERRY_VAULT_TRANSIT_KEY", _TRANSIT),
            _require(self.vault_transit_token_file, "KEYFERRY_VAULT_TRANSIT_TOKEN_FILE", _TRANSIT),
        )

    @property
    def deployment_id(self) -> str:
        """This installation's name. Raises SettingsError."""
        name = read_secret(self.deployment_id_file).reveal()
        if not _DEPLOYMENT_ID.fullmatch(name):
            raise SettingsError(
                f"{self.deployment_id_file}: an installation's name is 1 to 100 of A-Z a-z 0-9 . _ -: restore it from a backup,"
                " since no stored key can be decrypted under another name"
            )
        return name

    def check_files(self) -> None:
        """Check every key file, and the keyring if that is a file. Raises SettingsError."""
        super().check_files()
        load_tiers(self.tier_file)
        _ = (
            self.deployment_id,
            self.intake_opener(),
            self.signing_key(),
            self.fingerprint_key(),
            self.enrolled_workers(),
            self.grant_check(lambda _: None),
        )
        match self.kek_provider:
            case "aws_kms":
                self._required_kms_key()
            case "vault_transit":
                self._required_transit()
            case _:
                self.keks()

    def intake_opener(self) -> IntakeOpener:
        """Return the opener of keys sealed to the intake key. Raises SettingsError."""
        return IntakeOpener(_read_key(self.intake_key_file, opening_key))

    def signing_key(self) -> Ed25519PrivateKey:
        """Return the key that signs keys for workers. Raises SettingsError."""
        return _read_key(self.signing_key_file, signing_key)

    def fingerprint_key(self) -> bytes:
        """Return the key of fingerprints: 32 bytes. Raises SettingsError."""
        return _read_key(self.fingerprint_key_file, _parse_raw_key)

    def enrolled_workers(self) -> EnrolledWorkers:
        """Return the workers that may receive keys. Raises SettingsError."""
        try:
            return EnrolledWorkers.parse(read_secret(self.enrolled_workers_file).reveal())
        except BadEnrolment as error:
            raise SettingsError(f"{self.enrolled_workers_file}: {error}") from None

    def grant_check(self, service_of: ServiceOf) -> GrantCheck | None:
        """Return what checks the grants of lease requests; None if they are off. Raises SettingsError.

        `service_of` finds an internal service, whose key signs grants as well as those of the file.
        """
        if self.grants == "off":
            return None
        keys_file = _require(self.grant_keys_file, "KEYFERRY_GRANT_KEYS_FILE", "KEYFERRY_GRANTS=required")
        try:
            keys = GrantKeys.parse(read_secret(keys_file).reveal())
        except BadGrantKeys as error:
            raise SettingsError(f"{keys_file}: {error}") from None
        return GrantCheck(lambda signer: keys.get(signer, service_of), self._ledger_key())

    def _ledger_key(self) -> Ed25519PublicKey | None:
        if self.credits == "off":
            return None
        file = _require(self.credit_public_key_file, "KEYFERRY_CREDIT_PUBLIC_KEY_FILE", "KEYFERRY_CREDITS=required")
        return _read_key(file, lambda text: verifying_key(text.reveal()))


def _require(value: V | None, name: str, needed_by: str) -> V:
    if value is None:
        raise SettingsError(f"{name} is missing: {needed_by} needs it")
    return value


def _read_key(file: Path, parse: Callable[[Secret], T]) -> T:
    try:
        return parse(read_secret(file))
    except BadKeyFile as error:
        raise SettingsError(f"{file}: {error}. Restore it from a backup") from None


def _parse_raw_key(text: Secret) -> bytes:
    try:
        raw = from_base64(text.reveal())
    except ValueError as error:
        raise BadKeyFile(f"the key cannot be read: {error}") from None
    if len(raw) != _FINGERPRINT_KEY_BYTES:
        raise BadKeyFile(f"the key has {len(raw)} bytes and not {_FINGERPRINT_KEY_BYTES}")
    return raw
