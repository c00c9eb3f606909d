"""The three KEK providers with their administrators, who add, lose and disconnect KEKs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import boto3
import pytest
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.kms.models import kms_backends

from services.key_vault.encryption.kek_providers import aws_kms, vault_transit
from services.key_vault.encryption.kek_providers.file import FileKeyring
from services.key_vault.encryption.kek_providers.protocol import KekProvider
from tests.contract.kek_providers.transit_double import TransitDouble, transit_double
from tests.integration.key_vault.vault_database import keyring_line, write_keyring
from tests.support.servers.ports import find_free_port

REGION, KEY_NAME = "eu-central-1", "keyferry"


class Administrator(Protocol):
    """Administers a KEK provider."""

    def connect(self) -> KekProvider:
        """Another process of the vault."""

    def renew(self) -> None:
        """Create a new primary KEK; the former ones still decrypt."""

    def lose(self, name: str) -> None:
        """Make the KEK of that name unusable."""

    def go_away(self) -> None:
        """Make the KEK provider unreachable, where that is possible."""


class FileAdministrator:
    """Edits the keyring."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._names = 1
        write_keyring(file, keyring_line("kek-1"))

    def connect(self) -> KekProvider:
        return FileKeyring(self._file)

    def renew(self) -> None:
        self._names += 1
        write_keyring(self._file, keyring_line(f"kek-{self._names}"), *self._lines())

    def lose(self, name: str) -> None:
        write_keyring(self._file, *(line for line in self._lines() if line.split()[0] != name))

    def go_away(self) -> None:
        self._file.unlink()

    def _lines(self) -> list[str]:
        return self._file.read_text().splitlines()


class KmsAdministrator:
    """Administers an in-memory AWS account; an alias points at the primary key."""

    ALIAS = "alias/keyferry"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        self._endpoint_url: str | None = None
        self._client = boto3.client("kms", region_name=REGION)
        self._client.create_alias(AliasName=self.ALIAS, TargetKeyId=self._new_key())

    def connect(self) -> KekProvider:
        return aws_kms.connect(self.ALIAS, region=REGION, endpoint_url=self._endpoint_url)

    def renew(self) -> None:
        self._client.update_alias(AliasName=self.ALIAS, TargetKeyId=self._new_key())

    def lose(self, name: str) -> None:
        del kms_backends[DEFAULT_ACCOUNT_ID][REGION].keys[name.rpartition("/")[2]]

    def go_away(self) -> None:
        # The double stands in for AWS's own addresses only; nothing listens at this one.
        self._endpoint_url = f"http://127.0.0.1:{find_free_port()}"

    def _new_key(self) -> str:
        return self._client.create_key()["KeyMetadata"]["KeyId"]


class TransitAdministrator:
    """Administers a transit engine."""

    def __init__(self, double: TransitDouble, token_file: Path) -> None:
        self._double = double
        self._token_file = token_file
        token_file.write_text(double.token)
        double.answer("POST", f"/v1/transit/keys/{KEY_NAME}", double.token, {})

    def connect(self) -> KekProvider:
        return vault_transit.connect(self._double.url, KEY_NAME, self._token_file)

    def renew(self) -> None:
        self._double.answer("POST", f"/v1/transit/keys/{KEY_NAME}/rotate", self._double.token, {})

    def lose(self, name: str) -> None:
        version = int(name.rpartition(":v")[2])
        self._double.keys[KEY_NAME].min_decryption_version = version + 1

    def go_away(self) -> None:
        self._double.sealed = True


@contextmanager
def administrator(holder: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Administrator]:
    """Return the administrator of a KEK provider by its name: `file`, `aws_kms` or `vault_transit`."""
    if holder == "file":
        yield FileAdministrator(directory / "keks")
    elif holder == "aws_kms":
        with mock_aws():
            yield KmsAdministrator(monkeypatch)
    else:
        with transit_double() as double:
            yield TransitAdministrator(double, directory / "token")
