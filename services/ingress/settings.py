"""Settings of the ingress."""

from pydantic import Field

from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import MAX_REQUEST_BODY_BYTES, Role
from keyferry.runtime.http.cors import Origins
from keyferry.runtime.http.settings import HttpSettings
from keyferry.runtime.process.settings import SecretFile, read_grant_key, read_random_secret
from keyferry.sealing.grant import GrantSigner


class IngressSettings(HttpSettings):
    """Settings of the HTTP server, authentication and request limits."""

    http_port: int = Field(default=8400, ge=1, le=65535)
    token_pepper_file: SecretFile
    grant_key_file: SecretFile
    """The secret, shared with the key vault only, with which this service signs for the requests that it takes in."""
    request_deadline_seconds: float = Field(default=600.0, gt=0, le=3600)
    """The longest time for one request; the default is also the OpenAI SDK's timeout."""
    upload_timeout_seconds: float = Field(default=30.0, gt=0)
    """The longest time in which a client may send a request body."""
    keep_alive_seconds: float = Field(default=15.0, gt=0)
    """A stream gets a comment line after this time without a chunk, so that proxies keep it open."""
    cors_origins: Origins = frozenset()
    """Web pages that may call the API from a browser, comma-separated origins or `*`; none if empty."""
    token_use_seconds: float = Field(default=60.0, gt=0, le=3600)
    """How often it reports to the tenant directory which client tokens were used."""
    max_body_bytes: int = Field(default=MAX_REQUEST_BODY_BYTES, ge=1024, le=MAX_REQUEST_BODY_BYTES)

    def check_files(self) -> None:
        """Check the pepper and the grant key. Raises SettingsError."""
        super().check_files()
        self.token_pepper()
        self.grant_signer()

    def token_pepper(self) -> Secret:
        """Return the secret with which client tokens are fingerprinted."""
        return read_random_secret(self.token_pepper_file, "the pepper of client tokens")

    def grant_signer(self) -> GrantSigner:
        """Return what signs for requests. Raises SettingsError."""
        return read_grant_key(self.grant_key_file, Role.INGRESS.value)
