"""Seals what attempts were asked and have answered to the ledger, and publishes it where a tenant wants it stored.

Content is no money: it waits in memory, within bounds, and what does not fit is dropped and counted. No request waits for it.
"""

import logging
from datetime import UTC, datetime

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.content import ContentRecord
from keyferry.contracts.tenancy import ContentPolicy
from keyferry.contracts.usage import RequestKind
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.sealing.content import seal_content
from services.provider_worker.content.capture import ContentCapture

_log = logging.getLogger(__name__)


class ContentRecorder:
    """Records content for the tenants that want it. `public_key` is the ledger's, raw; without it nothing is recorded."""

    def __init__(self, public_key: bytes | None, publisher: BatchPublisher) -> None:
        self._public_key = public_key
        self._publisher = publisher
        self.unrecorded = 0
        """Attempts whose content should have been stored and was not."""

    def begin(self, run: AttemptRun, body: bytes) -> ContentCapture | None:
        """Return what collects an attempt's content; None if it is not wanted, or cannot be sealed."""
        if run.content is None or run.content is ContentPolicy.OFF or run.kind is not RequestKind.CHAT:
            return None
        if self._public_key is None:
            self.unrecorded += 1
            return None
        return ContentCapture(run.content, run.content_days, body)

    def record(self, run: AttemptRun, capture: ContentCapture, answer_body: bytes) -> None:
        """Seal and publish an attempt's content. Never raises: a request does not depend on it."""
        assert self._public_key is not None
        try:
            content = capture.finish(answer_body).encode()
            sealed = seal_content(self._public_key, run.tenant, run.attempt_id, content)
            record = ContentRecord(
                attempt_id=run.attempt_id,
                request_id=run.request_id,
                tenant=run.tenant,
                policy=capture.policy,
                days=capture.days,
                recorded_at=datetime.now(UTC),
                sealed=sealed,
            )
        except Exception:  # a value that nobody foresaw must not end an attempt that was answered
            self.unrecorded += 1
            _log.exception("the content of an attempt is not stored", extra={"attempt_id": run.attempt_id})
            return
        self._publisher.put(record.encode())
