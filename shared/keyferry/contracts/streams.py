"""The streams of the bus with their limits, and the consumers that read them; part of `topology`. Pure."""

from datetime import timedelta

from keyferry.contracts.alert_management import ALERTS
from keyferry.contracts.channels import AnySubject, Consumer, Role, Stream
from keyferry.contracts.live_events import LIVE
from keyferry.contracts.payment_management import CREDIT_POSTED, PAYMENT_CHANGED, PAYMENTS
from keyferry.contracts.traces import TRACES

GIB = 1024**3
STREAMS: tuple[Stream, ...] = (
    Stream(name="ATTEMPTS", max_age=timedelta(days=7), max_bytes=8 * GIB, synced=True),
    Stream(name="DECISIONS", max_age=timedelta(days=2), max_bytes=4 * GIB, synced=False),
    Stream(name="CHANGES", max_age=timedelta(days=2), max_bytes=GIB, synced=False),
    Stream(name="SPEND", max_age=timedelta(days=40), max_bytes=GIB, synced=False),
    Stream(name="AUDIT", max_age=timedelta(days=30), max_bytes=4 * GIB, synced=True),
    Stream(
        name="LIMITS",
        max_age=timedelta(minutes=3),
        max_bytes=GIB // 4,
        synced=False,
        # A window that has ended is never read again, so the oldest counters make way for new ones.
        drops_oldest=True,
        counters=True,
    ),
    LIVE,
    TRACES,
    ALERTS,
    # Its subjects were those of CHANGES, which the provisioner has to have taken them from by then.
    PAYMENTS,
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
    Consumer(stream="CHANGES", subscriber=Role.NOTIFIER, moved=(CREDIT_POSTED, PAYMENT_CHANGED)),
    Consumer(stream="ATTEMPTS", subscriber=Role.NOTIFIER),
    Consumer(stream="ATTEMPTS", subscriber=Role.BILLING),
    Consumer(stream="CHANGES", subscriber=Role.BILLING, moved=(PAYMENT_CHANGED,)),
    Consumer(stream="PAYMENTS", subscriber=Role.BILLING),
    Consumer(stream="PAYMENTS", subscriber=Role.NOTIFIER),
)


def consumers_of_rest(role: Role, subject: AnySubject) -> list[Consumer]:
    """Return the consumers through which a role reads what earlier builds stored of a subject in other streams."""
    return [consumer for consumer in CONSUMERS if consumer.subscriber is role and subject in consumer.moved]
