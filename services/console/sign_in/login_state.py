"""The state of a sign-in that is under way: encrypted in a cookie of the browser that has begun it, and nowhere else.

So the console stores nothing for strangers, any replica can end what another has begun, and a callback in another browser is
refused.
"""

import base64
import hashlib
import json
import secrets
from binascii import Error as NotBase64
from dataclasses import asdict, dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyferry.contracts.secret import Secret

LOGIN_SECONDS = 600
"""How long a person may take at the identity provider."""
_NONCE_BYTES = 12
_RANDOM_BYTES = 32
_CONTEXT = b"keyferry/login-state/v1"
_MAX_CHARACTERS = 4096


class LoginStateLost(Exception):
    """There is no state of a sign-in, or another one; the message is for people."""


class LoginStateExpired(LoginStateLost):
    """The person has taken too long."""


@dataclass(frozen=True, slots=True)
class LoginState:
    """What the callback compares with what comes back."""

    state: str
    nonce: str
    verifier: str
    """The code verifier of PKCE (RFC 7636)."""
    return_to: str
    step_up: bool
    expires_at: int
    """Seconds since 1970."""

    @property
    def challenge(self) -> str:
        """The code challenge of PKCE by S256."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


def begin(return_to: str, step_up: bool, now_seconds: float) -> LoginState:
    """Return the state of a new sign-in."""
    state, nonce, verifier = (secrets.token_urlsafe(_RANDOM_BYTES) for _ in range(3))
    return LoginState(state, nonce, verifier, return_to, step_up, int(now_seconds) + LOGIN_SECONDS)


class LoginStateCipher:
    """Encrypts states under the installation's session key."""

    def __init__(self, key: Secret) -> None:
        derived = HKDF(SHA256(), 32, salt=None, info=_CONTEXT).derive(key.reveal().encode())
        self._cipher = AESGCM(derived)

    def encrypt(self, state: LoginState) -> str:
        """Return the value of the cookie."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, json.dumps(asdict(state)).encode(), _CONTEXT)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def decrypt(self, value: str | None, now_seconds: float) -> LoginState:
        """Return the state in a cookie. Raises LoginStateLost and LoginStateExpired."""
        if value is None or len(value) > _MAX_CHARACTERS:
            raise LoginStateLost("this browser has not begun to sign in, or has not kept the cookie: begin again")
        try:
            raw = base64.b64decode(value + "=" * (-len(value) % 4), b"-_", validate=True)
            plain = self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _CONTEXT)
        except (NotBase64, InvalidTag, ValueError):
            raise LoginStateLost("the cookie of this sign-in cannot be read: begin again") from None
        state = LoginState(**json.loads(plain))
        if now_seconds >= state.expires_at:
            raise LoginStateExpired(f"this sign-in has taken longer than {LOGIN_SECONDS // 60} minutes: begin again")
        return state
