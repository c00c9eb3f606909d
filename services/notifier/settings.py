"""Settings of the notifier."""

from keyferry.runtime.process.settings import DatabaseSettings


class NotifierSettings(DatabaseSettings):
    """Settings of a notifier process."""
