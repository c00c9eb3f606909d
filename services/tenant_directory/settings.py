"""Settings of a process of the tenant directory."""

from keyferry.contracts.secret import Secret
from keyferry.runtime.process.settings import DatabaseSettings, SecretFile, read_secret


class DirectorySettings(DatabaseSettings):
    """What the tenant directory needs."""

    token_pepper_file: SecretFile
    """What client tokens are fingerprinted under. The ingress has the same one; another one makes every token unknown."""

    def token_pepper(self) -> Secret:
        """The installation's pepper. Raises SettingsError."""
        return read_secret(self.token_pepper_file)
