"""The secrets that processes are given as files: made once in the home directory, and then kept.

A `SecretFile` says under which setting a process reads one; embedded mode points at the file, containers get a copy of it.
Private keys are raw (X25519, Ed25519, AES-256), in base64url without padding.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from deploy.embedded.home import Home, kept_secret
from deploy.postgres.roles import write_secret
from keyferry.contracts import ids
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import worker_id
from keyferry.sealing import private_keys
from keyferry.sealing.framing import to_base64
from keyferry.sealing.private_keys import public_text_of

_KEY_BYTES = 32
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class SecretFile:
    """One file that a process is given."""

    setting: str
    """The environment variable that names it."""
    name: str
    """What it is called among the process's own files in a container."""
    path: Callable[[Home, int], Path]
    """Makes the file of a slot where it is missing, and says where it is."""


def _kept_pair(private: Path, parse: Callable[[Secret], Ed25519PrivateKey | X25519PrivateKey]) -> Path:
    """A private key, with its public half beside it. A private key that was lost and is made anew has a new public half."""
    made_anew = not private.exists()
    kept_secret(private, _fresh_key)
    pin = private.with_suffix(".pub")
    if made_anew or not pin.exists():
        write_secret(pin, public_text_of(parse(_read(private))))
    return private


def _fresh_key() -> str:
    return to_base64(secrets.token_bytes(_KEY_BYTES))


def token_pepper(home: Home, _: int = 1) -> Path:
    """What client tokens are fingerprinted with. Losing it makes every client token useless."""
    return kept_secret(home.secrets / "token-pepper", lambda: secrets.token_urlsafe(_TOKEN_BYTES))


def keks(home: Home, _: int = 1) -> Path:
    """The keyring that wraps data keys: a name and a key a line, the first is the primary. Losing it loses every key."""
    return kept_secret(home.secrets / "vault" / "keks", lambda: f"k1 {_fresh_key()}\n")


def intake_key(home: Home, _: int = 1) -> Path:
    """What provider keys are sealed to on their way in; its public half is pinned beside it."""
    return _kept_pair(home.secrets / "vault" / "intake-key", private_keys.opening_key)


def intake_public_key(home: Home, _: int = 1) -> Path:
    """The pinned public half of the intake key."""
    return intake_key(home).with_suffix(".pub")


def signing_key(home: Home, _: int = 1) -> Path:
    """What the vault signs leases with."""
    return _kept_pair(home.secrets / "vault" / "signing-key", private_keys.signing_key)


def vault_public_key(home: Home, _: int = 1) -> Path:
    """What workers check the vault's signatures with."""
    return signing_key(home).with_suffix(".pub")


def fingerprint_key(home: Home, _: int = 1) -> Path:
    """What provider keys are fingerprinted with."""
    return kept_secret(home.secrets / "vault" / "fingerprint-key", _fresh_key)


def deployment_id(home: Home, _: int = 1) -> Path:
    """Which deployment this is: sealed into every record, so that no other opens it."""
    return kept_secret(home.secrets / "vault" / "deployment-id", lambda: ids.new("dep"))


def identity_key(home: Home, slot: int) -> Path:
    """With which a worker slot signs its short-lived keys."""
    return kept_secret(home.secrets / "workers" / f"{worker_id(slot)}.key", _fresh_key)


def enrolled_workers(home: Home, slots: int) -> Path:
    """The public identity keys of `slots` worker slots, by worker id: whom the vault gives keys to."""
    known = {
        worker_id(slot): public_text_of(private_keys.signing_key(_read(identity_key(home, slot))))
        for slot in range(1, slots + 1)
    }
    path = home.secrets / "vault" / "enrolled-workers.json"
    text = json.dumps(known, indent=2) + "\n"
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(path, text)
    return path


def operator_token(home: Home, _: int = 1) -> Path:
    """What the operator signs in to the management API with."""
    return kept_secret(home.secrets / "operator-token", lambda: secrets.token_urlsafe(_TOKEN_BYTES))


def audit_key(home: Home, _: int = 1) -> Path:
    """What the ledger signs the ends of audit chains with."""
    return kept_secret(home.secrets / "audit-key", _fresh_key)


def _read(path: Path) -> Secret:
    return Secret(path.read_text().strip())


PEPPER = SecretFile("KEYFERRY_TOKEN_PEPPER_FILE", "token-pepper", token_pepper)
KEKS = SecretFile("KEYFERRY_KEKS_FILE", "keks", keks)
INTAKE_KEY = SecretFile("KEYFERRY_INTAKE_KEY_FILE", "intake-key", intake_key)
INTAKE_PUBLIC_KEY = SecretFile("KEYFERRY_INTAKE_PUBLIC_KEY_FILE", "intake-key.pub", intake_public_key)
SIGNING_KEY = SecretFile("KEYFERRY_SIGNING_KEY_FILE", "signing-key", signing_key)
FINGERPRINT_KEY = SecretFile("KEYFERRY_FINGERPRINT_KEY_FILE", "fingerprint-key", fingerprint_key)
DEPLOYMENT_ID = SecretFile("KEYFERRY_DEPLOYMENT_ID_FILE", "deployment-id", deployment_id)
IDENTITY_KEY = SecretFile("KEYFERRY_IDENTITY_KEY_FILE", "identity-key", identity_key)
VAULT_PUBLIC_KEY = SecretFile("KEYFERRY_VAULT_PUBLIC_KEY_FILE", "vault.pub", vault_public_key)
OPERATOR_TOKEN = SecretFile("KEYFERRY_OPERATOR_TOKEN_FILE", "operator-token", operator_token)
AUDIT_KEY = SecretFile("KEYFERRY_AUDIT_KEY_FILE", "audit-key", audit_key)


def enrolling(slots: int) -> SecretFile:
    """The list of the vault's workers, for an installation with so many slots."""
    return SecretFile(
        "KEYFERRY_ENROLLED_WORKERS_FILE", "enrolled-workers.json", lambda home, _: enrolled_workers(home, slots)
    )
