"""The secrets that processes read from files: generated once in the home directory, then kept.

A `SecretFile` names the setting under which a process finds one; embedded mode sets its path, containers get a copy.
Private keys are raw (X25519, Ed25519, AES-256), in base64url without padding.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from deploy.embedded.errors import HomeUnusable
from deploy.embedded.home import Home, ensure_secret
from deploy.postgres.roles import write_secret
from keyferry.contracts import ids
from keyferry.contracts.own_credentials import OPERATOR_PREFIX
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import Role, worker_id
from keyferry.runtime.process.settings import read_secret
from keyferry.sealing import private_keys
from keyferry.sealing.framing import to_base64
from keyferry.sealing.grant import UnusableGrantKey, signer_of
from keyferry.sealing.private_keys import BadKeyFile, public_key_text

_KEY_BYTES = 32
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class SecretFile:
    """One secret file of a process."""

    setting: str
    """The environment variable with its path."""
    name: str
    """Its file name in a container."""
    path: Callable[[Home, int], Path]
    """Returns the path of a slot's file, generating the file if it is missing."""


def _ensure_key_pair(private: Path, parse: Callable[[Secret], Ed25519PrivateKey | X25519PrivateKey]) -> Path:
    """Generate a private key if it is missing, and its public key beside it; a new private key gets a new public key."""
    generated = not private.exists()
    ensure_secret(private, _generate_key)
    pin = private.with_suffix(".pub")
    try:
        public = public_key_text(parse(_read(private)))
    except BadKeyFile as error:
        raise HomeUnusable(f"{private}: {error}. Restore it from a backup") from None
    if generated or not pin.exists():
        write_secret(pin, public)
    elif pin.read_bytes().strip() != public.encode():
        raise HomeUnusable(
            f"{pin} is not the public half of {private.name}: restore both from one backup, or remove {pin.name} if"
            f" {private.name} is right; it is then written anew"
        )
    return private


def _generate_key() -> str:
    return to_base64(secrets.token_bytes(_KEY_BYTES))


def token_pepper(home: Home, _: int = 1) -> Path:
    """Return the file of the pepper for client token digests; losing it invalidates every client token."""
    return ensure_secret(home.secrets / "token-pepper", lambda: secrets.token_urlsafe(_TOKEN_BYTES))


def keks(home: Home, _: int = 1) -> Path:
    """Return the KEK file: a name and a key per line, the first is primary; losing it loses every provider key."""
    return ensure_secret(home.secrets / "vault" / "keks", lambda: f"k1 {_generate_key()}\n")


def intake_key(home: Home, _: int = 1) -> Path:
    """Return the private key to which new provider keys are sealed; its pinned public key is beside it."""
    return _ensure_key_pair(home.secrets / "vault" / "intake-key", private_keys.opening_key)


def intake_public_key(home: Home, _: int = 1) -> Path:
    """Return the pinned public key of the intake key."""
    return intake_key(home).with_suffix(".pub")


def signing_key(home: Home, _: int = 1) -> Path:
    """Return the private key with which the vault signs leases."""
    return _ensure_key_pair(home.secrets / "vault" / "signing-key", private_keys.signing_key)


def vault_public_key(home: Home, _: int = 1) -> Path:
    """Return the public key with which workers verify the vault's signatures."""
    return signing_key(home).with_suffix(".pub")


def fingerprint_key(home: Home, _: int = 1) -> Path:
    """Return the HMAC key for fingerprints of provider keys."""
    return ensure_secret(home.secrets / "vault" / "fingerprint-key", _generate_key)


def deployment_id(home: Home, _: int = 1) -> Path:
    """Return the file of the deployment id, which is authenticated data of every stored key."""
    return ensure_secret(home.secrets / "vault" / "deployment-id", lambda: ids.new("dep"))


def identity_key(home: Home, slot: int) -> Path:
    """Return the identity key with which a worker slot signs its ephemeral keys."""
    return ensure_secret(home.secrets / "workers" / f"{worker_id(slot)}.key", _generate_key)


def enrolled_workers(home: Home, slots: int) -> Path:
    """Return the list of workers that may lease keys: the public identity keys of `slots` slots by worker id."""
    known = {worker_id(slot): _public_identity(identity_key(home, slot)) for slot in range(1, slots + 1)}
    return _write_if_changed(home.secrets / "vault" / "enrolled-workers.json", json.dumps(known, indent=2) + "\n")


def _write_if_changed(path: Path, text: str) -> Path:
    if not path.exists() or path.read_bytes() != text.encode():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(path, text)
    return path


def grant_key(home: Home, user: str) -> Path:
    """Return the secret with which ingress or the operator signs for requests."""
    return ensure_secret(home.secrets / "grants" / f"{user}.key", _generate_key)


def ingress_grant_key(home: Home, _: int = 1) -> Path:
    """Return the secret that ingress shares with the vault."""
    return grant_key(home, Role.INGRESS.value)


def grant_keys(home: Home, _: int = 1) -> Path:
    """Return the vault's list of grant keys: the secrets of ingress and the operator."""
    known = {user: _read_grant_secret(grant_key(home, user)) for user in (Role.INGRESS.value, Role.OPERATOR.value)}
    return _write_if_changed(home.secrets / "vault" / "grant-keys.json", json.dumps(known, indent=2) + "\n")


def _read_grant_secret(file: Path) -> str:
    secret = _read(file)
    try:
        signer_of(Role.INGRESS.value, secret)
    except UnusableGrantKey as error:
        raise HomeUnusable(f"{file}: {error}. Restore it from a backup, or remove it: a new one is made then") from None
    return secret.reveal()


def credit_key(home: Home, _: int = 1) -> Path:
    """Return the private key with which the ledger certifies leases of credit."""
    return _ensure_key_pair(home.secrets / "credit-key", private_keys.signing_key)


def credit_public_key(home: Home, _: int = 1) -> Path:
    """Return the public key with which the vault verifies these certificates."""
    return credit_key(home).with_suffix(".pub")


def operator_token(home: Home, _: int = 1) -> Path:
    """Return the operator's token for the management API."""
    return ensure_secret(home.secrets / "operator-token", lambda: OPERATOR_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES))


def login_key(home: Home, _: int = 1) -> Path:
    """Return the key of the built-in login: who can read it can sign in as anybody. For this machine alone."""
    return ensure_secret(home.secrets / "login-key", lambda: secrets.token_urlsafe(_TOKEN_BYTES))


def audit_key(home: Home, _: int = 1) -> Path:
    """Return the key with which the ledger signs audit chain heads."""
    return ensure_secret(home.secrets / "audit-key", _generate_key)


def content_key(home: Home, _: int = 1) -> Path:
    """Return the private key that stored content is sealed to; losing it loses that content."""
    return _ensure_key_pair(home.secrets / "content-key", private_keys.opening_key)


def content_public_key(home: Home, _: int = 1) -> Path:
    """Return the pinned public key of the content key."""
    return content_key(home).with_suffix(".pub")


def _public_identity(file: Path) -> str:
    try:
        return public_key_text(private_keys.signing_key(_read(file)))
    except BadKeyFile as error:
        raise HomeUnusable(f"{file}: {error}. Restore it from a backup, or remove it: a new one is made then") from None


def _read(path: Path) -> Secret:
    return read_secret(path)


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
GRANT_KEYS = SecretFile("KEYFERRY_GRANT_KEYS_FILE", "grant-keys.json", grant_keys)
GRANT_KEY = SecretFile("KEYFERRY_GRANT_KEY_FILE", "grant-key", ingress_grant_key)
CREDIT_KEY = SecretFile("KEYFERRY_CREDIT_KEY_FILE", "credit-key", credit_key)
CREDIT_PUBLIC_KEY = SecretFile("KEYFERRY_CREDIT_PUBLIC_KEY_FILE", "credit-key.pub", credit_public_key)
CONTENT_KEY = SecretFile("KEYFERRY_CONTENT_KEY_FILE", "content-key", content_key)
CONTENT_PUBLIC_KEY = SecretFile("KEYFERRY_CONTENT_PUBLIC_KEY_FILE", "content-key.pub", content_public_key)
LOGIN_KEY = SecretFile("KEYFERRY_LOGIN_KEY_FILE", "login-key", login_key)
AUDIT_KEY = SecretFile("KEYFERRY_AUDIT_KEY_FILE", "audit-key", audit_key)


def enrolled_workers_file(slots: int) -> SecretFile:
    """Return the secret file with the enrolled workers of an installation with so many slots."""
    return SecretFile(
        "KEYFERRY_ENROLLED_WORKERS_FILE", "enrolled-workers.json", lambda home, _: enrolled_workers(home, slots)
    )
