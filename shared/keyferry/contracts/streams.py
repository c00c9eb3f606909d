"""The streams of the bus with their limits, and the consumers that read them; part of `topology`. Pure."""

from datetime import timedelta

from keyferry.contracts.alert_management import ALERTS
from keyferry.contracts.channels import Consumer, Role, Stream
from keyferry.contracts.live_events import LIVE

GIB = 1024**3
STREAMS: tuple[Stream, ...] = (
    Stream(name="ATTEMPTS", max_age=timedelta(days=7), max_bytes=8 * GIB, synced=True),
    Stream(name="DECISIONS", max_age=timedelta(days=2), max_bytes=4 * GIB, synced=False),
    Stream(name="CHANGES", max_age=timedelta(days=2), max_bytes=GIB, synced=False),
    Stream(name="SPEND", max_age=timedelta(days=40), max_bytes=GIB, synced=False),
    Stream(name="AUDIT", max_age=timedelta(days=30), max_bytes=4 * GIB, synced=True),
    Stream(name="LIMITS", max_age=timedelta(minutes=3), max_bytes=GIB // 4, synced=False, counters=True),
    LIVE,
    ALERTS,
    Stream(name="CONTENTS", max_age=timedelta(days=1), max_bytes=GIB, synced=False),
    Stream(name="DEAD_LETTERS", max_age=timedelta(days=30), max_bytes=GIB, synced=True),
)
CONSUMERS: tuple[Consumer, ...] = (
    Consumer(stream="ATTEMPTS", subscriber=Role.USAGE_LEDGER),
    Consumer(stream="ATTEMPTS", subscriber=Role.HEALTH_MONITOR),
    Consumer(stream="DECISIONS", subscriber=Role.USAGE_LEDGER),
    Consumer(stream="AUDIT", subscriber=Role.USAGE_LEDGER),
    Consumer(stream="CHANGES", subscriber=Role.USAGE_LEDGER),
    Consumer(stream="ATTEMPTS", subscriber=Role.KEY_VAULT),
    Consumer(stream="CONTENTS", subscriber=Role.USAGE_LEDGER),
    Consumer(stream="SPEND", subscriber=Role.KEY_VAULT),
    Consumer(stream="ALERTS", subscriber=Role.NOTIFIER),
    Consumer(stream="CHANGES", subscriber=Role.NOTIFIER),
    Consumer(stream="ATTEMPTS", subscriber=Role.NOTIFIER),
    Consumer(stream="ATTEMPTS", subscriber=Role.BILLING),
    Consumer(stream="CHANGES", subscriber=Role.BILLING),
)
