"""Settings of the console."""

from pydantic import Field

from keyferry.contracts.secret import Secret
from keyferry.runtime.process.settings import SecretFile, ServiceSettings, SettingsError, read_secret
from keyferry.sealing.framing import from_base64

_TOKEN_CHARACTERS = 32
"""A token that is guessed has to be guessed online; below this the operator has typed one by hand."""
_KEY_BYTES = 32


class ConsoleSettings(ServiceSettings):
    """What the HTTP face of management needs."""

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8401, ge=1, le=65535)
    operator_token_file: SecretFile
    """What the operator signs in with."""
    intake_public_key_file: SecretFile
    """The vault's public intake key (X25519, base64url), as it was pinned when the installation was made."""
    upload_timeout_seconds: float = Field(default=10.0, gt=0)
    """How long a client may take to send a request body."""

    def operator_token(self) -> Secret:
        """The operator's token. Raises SettingsError for one that is too short to be safe."""
        token = read_secret(self.operator_token_file)
        if len(token.reveal()) < _TOKEN_CHARACTERS:
            raise SettingsError(
                f"the operator's token in {self.operator_token_file} is shorter than {_TOKEN_CHARACTERS} characters:"
                " put a random one there"
            )
        return token

    def intake_public_key(self) -> str:
        """The pinned intake key, base64url. Raises SettingsError for what is no X25519 public key."""
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
