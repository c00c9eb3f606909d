"""Settings of the tenant directory."""

from pathlib import Path

from keyferry.contracts.secret import Secret
from keyferry.runtime.process.settings import DatabaseSettings, SecretFile, read_random_secret
from keyferry.runtime.tiers import load_tiers
from keyferry.tiers.file import BUNDLED_TIERS


class DirectorySettings(DatabaseSettings):
    """Settings of a tenant directory process."""

    token_pepper_file: SecretFile
    """The pepper of the fingerprints of client tokens, the same as the ingress has. Another one makes every token unknown."""

    tier_file: Path = BUNDLED_TIERS
    """What each tier includes: the same file as the router's and the key vault's."""

    def check_files(self) -> None:
        """Check the pepper and the tier file. Raises SettingsError."""
        super().check_files()
        self.token_pepper()
        load_tiers(self.tier_file)

    def token_pepper(self) -> Secret:
        """Read the installation's pepper. Raises SettingsError."""
        return read_random_secret(self.token_pepper_file, "the pepper of client tokens")
