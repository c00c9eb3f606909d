"""The fields around OpenAI's choices, from a GenerateContentResponse."""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text

_ID = re.compile(r"[\w-]{1,128}")


class ResponseEnvelope:
    """Id, time and model of one answer, taken from the first piece of a stream that has them."""

    def __init__(self, run: AttemptRun, headers: Mapping[str, str]) -> None:
        self.model_served: str | None = None
        self._run = run
        self._headers = headers
        self._id: str | None = None
        self._created: int | None = None

    def read(self, document: JsonObject) -> None:
        """Take the fields that `document` has."""
        model = as_text(document.get("modelVersion")).removeprefix("models/")
        self.model_served = self.model_served or model or None
        if self._id is None and _ID.fullmatch(as_text(document.get("responseId"))):
            self._id = as_text(document.get("responseId"))
        if self._created is None:
            self._created = _parse_unix_seconds(as_text(document.get("createTime")))

    def around(self, kind: str) -> JsonObject:
        """Return the fields around `choices`; `kind` is OpenAI's `object`."""
        if self._created is None:
            self._created = self._answered_at()
        return {
            "id": f"chatcmpl-{self._id or self._run.attempt_id}",
            "object": kind,
            "created": self._created,
            "model": self.model_served or self._run.model,
        }

    def _answered_at(self) -> int:
        """Return the response's own date, or roughly the request's: AI Studio returns no timestamp."""
        try:
            return int(parsedate_to_datetime(self._headers["date"]).timestamp())
        except (KeyError, ValueError, TypeError, OverflowError):
            return self._run.start_by_unix_ms // 1000


def block_reason(document: JsonObject) -> str | None:
    """Return why Google blocked the prompt (`promptFeedback.blockReason`), or null if it did not."""
    reason = as_text(as_object(document.get("promptFeedback")).get("blockReason"))
    return reason if reason and reason != "BLOCKED_REASON_UNSPECIFIED" else None


def _parse_unix_seconds(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text[:40]) if text else None
        return int(moment.timestamp()) if moment is not None and moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
