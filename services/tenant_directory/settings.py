"""Settings of the tenant directory."""

from keyferry.contracts.secret import Secret
from keyferry.runtime.process.settings import DatabaseSettings, SecretFile, read_random_secret


class DirectorySettings(DatabaseSettings):
    """Settings of a tenant directory process."""

    token_pepper_file: SecretFile
    """The pepper of the fingerprints of client tokens, the same as the ingress has. Another one makes every token unknown."""

    def check_files(self) -> None:
        """Check the pepper. Raises SettingsError."""
        super().check_files()
        self.token_pepper()

    def token_pepper(self) -> Secret:
        """Read the installation's pepper. Raises SettingsError."""
        return read_random_secret(self.token_pepper_file, "the pepper of client tokens")
