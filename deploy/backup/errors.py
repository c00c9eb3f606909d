"""The errors of backups and restores."""

from deploy.embedded.errors import LaunchFailed


class BackupFailed(LaunchFailed):
    """A backup cannot be made, read or restored; the message says why and what to do."""
