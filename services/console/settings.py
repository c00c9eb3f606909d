"""Settings of the console."""

import re
from pathlib import Path

from pydantic import Field

from keyferry.contracts.browser_origin import ORIGIN_PATTERN
from keyferry.contracts.secret import Secret
from keyferry.runtime.http.cors import Origins
from keyferry.runtime.process.settings import SecretFile, SettingsError, read_random_secret, read_secret
from keyferry.sealing.framing import from_base64
from services.console.sign_in.settings import SignInSettings

_KEY_BYTES = 32
_ORIGIN = re.compile(ORIGIN_PATTERN[1:-1], re.ASCII)
BUILT_PAGE = Path(__file__).parent / "web" / "dist"
"""Where `make page` puts the page."""


class ConsoleSettings(SignInSettings):
    """Settings of the management API."""

    operator_token_file: SecretFile
    """The operator's bearer token."""
    intake_public_key_file: SecretFile
    """The vault's public intake key (X25519, base64url), pinned when the installation was set up."""
    console_cors_origins: Origins = frozenset()
    """Web pages that may call the management API from a browser, comma-separated origins or `*`; none if empty."""
    failures_per_minute: int = Field(default=20, ge=1, le=1_000_000)
    """Bad credentials of one IPv4 address or one IPv6 /64; further ones get a 429. Good ones are always accepted."""
    upload_timeout_seconds: float = Field(default=10.0, gt=0)
    """The longest time in which a client may send a request body."""
    page_dir: Path = BUILT_PAGE
    """The built page. Without one browsers are shown how to get it, and the API works all the same."""
    api_url: str | None = None
    """Where clients reach the gateway, such as https://api.example.com: the page shows it, and sends its own tries there."""

    def check_files(self) -> None:
        """Check the token and the key. Raises SettingsError."""
        super().check_files()
        _ = self.operator_token(), self.intake_public_key(), self.api_origin()

    def api_origin(self) -> str | None:
        """Return the origin of the gateway's address, without a slash at the end. Raises SettingsError if it is no origin."""
        if self.api_url is None:
            return None
        origin = self.api_url.rstrip("/").lower()
        if not _ORIGIN.fullmatch(origin):
            raise SettingsError(
                "KEYFERRY_API_URL must be the address of the gateway without a path, such as https://api.example.com"
            )
        return origin

    def operator_token(self) -> Secret:
        """Return the operator's token. Raises SettingsError if it is too short to be safe."""
        return read_random_secret(self.operator_token_file, "the operator's token")

    def intake_public_key(self) -> str:
        """Return the pinned intake key, base64url. Raises SettingsError if it is not an X25519 public key."""
        text = read_secret(self.intake_public_key_file).reveal()
        try:
            raw = from_base64(text)
        except ValueError:
            raw = b""
        if len(raw) != _KEY_BYTES:
            raise SettingsError(
                f"{self.intake_public_key_file} holds no public key of {_KEY_BYTES} bytes in base64url: put the public half of"
                " the vault's intake key there"
            )
        return text
