"""The table from a provider's status, error code and message to a failure class.

The status decides before any text, because texts change. A code in the body refines the status where the table allows
it, the text of the message only if no code did. Source of the codes: recorded traffic and the providers' API
references.
"""

import re
from collections.abc import Mapping

from keyferry.contracts.failure import FailureClass
from services.provider_worker.adapters.response.context_overflow import is_context_overflow
from services.provider_worker.adapters.response.request_fault import without_blame

C = FailureClass

_BY_STATUS: Mapping[int, FailureClass] = {
    401: C.AUTH,
    402: C.QUOTA,
    403: C.AUTH,
    404: C.NOT_FOUND,
    408: C.TIMEOUT,
    410: C.NOT_FOUND,
    424: C.SERVER,
    429: C.RATE_LIMIT,
    498: C.OVERLOADED,
    503: C.OVERLOADED,
    504: C.TIMEOUT,
    524: C.TIMEOUT,
    529: C.OVERLOADED,
}

_BY_CODE: Mapping[str, FailureClass] = {
    "invalid_api_key": C.AUTH,
    "api_key_invalid": C.AUTH,
    "incorrect_api_key": C.AUTH,
    "authentication_error": C.AUTH,
    "account_deactivated": C.AUTH,
    "access_terminated": C.AUTH,
    "wrong_api_key": C.AUTH,
    "invalidapikey": C.AUTH,
    "invalid_authentication_error": C.AUTH,
    "insufficient_quota": C.QUOTA,
    "insufficient_balance": C.QUOTA,
    "insufficient_credits": C.QUOTA,
    "billing_not_active": C.QUOTA,
    "billing_hard_limit_reached": C.QUOTA,
    "exceeded_current_quota_error": C.QUOTA,
    "payment_required": C.QUOTA,
    "insufficient_user_quota": C.QUOTA,
    "not_enough_balance": C.QUOTA,
    "credit_limit": C.QUOTA,
    "blocked_api_access": C.QUOTA,
    "token_quota_reached": C.QUOTA,
    "arrearage": C.QUOTA,
    "allocationquota.freetieronly": C.QUOTA,
    "rate_limit_exceeded": C.RATE_LIMIT,
    "rate_limit_error": C.RATE_LIMIT,
    "rate_limited": C.RATE_LIMIT,
    "ratelimitreached": C.RATE_LIMIT,
    "too_many_requests": C.RATE_LIMIT,
    "rate_limit_reached_error": C.RATE_LIMIT,
    "request_limit_exceeded": C.RATE_LIMIT,
    "throttling": C.RATE_LIMIT,
    "throttling.ratequota": C.RATE_LIMIT,
    "throttling.burstrate": C.RATE_LIMIT,
    "resource_exhausted": C.RATE_LIMIT,
    "overloaded": C.OVERLOADED,
    "overloaded_error": C.OVERLOADED,
    "engine_overloaded": C.OVERLOADED,
    "engine_overloaded_error": C.OVERLOADED,
    "server_overloaded": C.OVERLOADED,
    "service_unavailable": C.OVERLOADED,
    "service_unavailable_error": C.OVERLOADED,
    "capacity_exceeded": C.OVERLOADED,
    "over_capacity": C.OVERLOADED,
    "queue_exceeded": C.OVERLOADED,
    "context_length_exceeded": C.CONTEXT_LENGTH,
    "context_window_exceeded": C.CONTEXT_LENGTH,
    "exceed_context_size_error": C.CONTEXT_LENGTH,
    "too_many_prompt_tokens": C.CONTEXT_LENGTH,
    "prompt_too_long": C.CONTEXT_LENGTH,
    "input_too_long": C.CONTEXT_LENGTH,
    "model_context_window_exceeded": C.CONTEXT_LENGTH,
    "model_max_prompt_tokens_exceeded": C.CONTEXT_LENGTH,
    "token_quantity_exceeded": C.CONTEXT_LENGTH,
    "token_limit_exceeded": C.CONTEXT_LENGTH,
    "tokens_limit_reached": C.CONTEXT_LENGTH,
    "content_filter": C.CONTENT_FILTER,
    "content_policy_violation": C.CONTENT_FILTER,
    "responsibleaipolicyviolation": C.CONTENT_FILTER,
    "moderation_blocked": C.CONTENT_FILTER,
    "data_inspection_failed": C.CONTENT_FILTER,
    "datainspectionfailed": C.CONTENT_FILTER,
    "model_not_found": C.NOT_FOUND,
    "not_found_error": C.NOT_FOUND,
    "deploymentnotfound": C.NOT_FOUND,
    "model_not_available": C.NOT_FOUND,
    "model_decommissioned": C.NOT_FOUND,
    "modelnotfound": C.NOT_FOUND,
    "resource_not_found_error": C.NOT_FOUND,
    "operationnotsupported": C.NOT_FOUND,
    "model_not_supported": C.NOT_FOUND,
    "unsupported_country_region_territory": C.NOT_FOUND,
    "invalid_request_error": C.BAD_REQUEST,
    "tool_use_failed": C.BAD_REQUEST,
    "timeout": C.TIMEOUT,
    "server_error": C.SERVER,
    "internal_server_error": C.SERVER,
    "internal_error": C.SERVER,
    # Zhipu and Z.ai
    "1113": C.QUOTA,
    "1211": C.NOT_FOUND,
    "1261": C.CONTEXT_LENGTH,
    "1301": C.CONTENT_FILTER,
    "1302": C.RATE_LIMIT,
    "1303": C.RATE_LIMIT,
    "1304": C.QUOTA,
    "1305": C.OVERLOADED,
    "1308": C.QUOTA,
    # MiniMax, by `base_resp.status_code`
    "base_resp.1002": C.RATE_LIMIT,
    "base_resp.1004": C.AUTH,
    "base_resp.1008": C.QUOTA,
    "base_resp.1026": C.CONTENT_FILTER,
    "base_resp.1027": C.CONTENT_FILTER,
    "base_resp.1039": C.RATE_LIMIT,
    "base_resp.2049": C.AUTH,
    "base_resp.2056": C.QUOTA,
}

_BY_TEXT: tuple[tuple[re.Pattern[str], FailureClass], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), failure_class)
    for pattern, failure_class in (
        ((r"content management policy|content (?:policy|filter)|requires moderation|flagged (?:for|by|as)"
          r"|violates usage guidelines|content exists risk|inappropriate content|safety system|considered high risk|new_sensitive"
          r"|敏感内容|不安全"), C.CONTENT_FILTER),
        ((r"credit balance is too low|insufficient (?:\w+ )?(?:credits?|balance|funds|quota)"
          r"|(?:not|n.t) (?:have )?enough (?:credits?|balance|quota)"
          r"|balance (?:is )?(?:not enough|insufficient)|exceeded your current quota|quota is not enough"
          r"|used (?:up )?(?:all|your) (?:available |daily |monthly )|doesn.t have any credits|spending limit"
          r"|account (?:is )?(?:overdue|in arrears)|余额不足|欠费"), C.QUOTA),
        (r"api key (?:not valid|is invalid|expired|is expired|has expired)|(?:invalid|incorrect|wrong) api[ _-]key", C.AUTH),
        ((r"model\b.{0,200}\b(?:(?:does )?not exist|not found|is not available|decommissioned)"
         r"|(?:invalid|unknown|no such) model\b"
         r"|not a valid model|supported api model names are|no endpoints found|no models? (?:is )?loaded"
         r"|(?:not|n.t) have (?:access|permission) to (?:the |this )?model|模型不存在"), C.NOT_FOUND),
        ((r"\b(?:overloaded|at capacity)\b|\bmodel (?:is )?busy|capacity temporarily exceeded|high (?:traffic|demand)"
          r"|访问量过大"), C.OVERLOADED),
        (r"you have been blocked|attention required! \| cloudflare|just a moment\.\.\.", C.SERVER),
    )
)  # fmt: skip

_REQUEST_FAULTS = frozenset({C.CONTEXT_LENGTH, C.CONTENT_FILTER, C.NOT_FOUND})
_REFINABLE: Mapping[int, frozenset[FailureClass]] = {
    400: _REQUEST_FAULTS | {C.AUTH, C.QUOTA, C.RATE_LIMIT},
    401: frozenset({C.QUOTA}),
    # A page that blocks the caller's address says nothing of the key: only the class `auth` disables a key.
    403: _REQUEST_FAULTS | {C.QUOTA, C.RATE_LIMIT, C.SERVER},
    404: frozenset({C.CONTENT_FILTER}),
    412: frozenset({C.QUOTA}),
    413: frozenset({C.CONTEXT_LENGTH, C.RATE_LIMIT}),
    422: _REQUEST_FAULTS,
    429: frozenset({C.QUOTA, C.OVERLOADED}),
    500: frozenset({C.OVERLOADED, C.RATE_LIMIT, C.CONTEXT_LENGTH, C.QUOTA}),
}
"""The classes that a body may refine a status to. A status that is not listed is final."""

_STATUS_OF_CLASS: Mapping[FailureClass, int] = {
    C.BAD_REQUEST: 400,
    C.CONTEXT_LENGTH: 400,
    C.CONTENT_FILTER: 400,
    C.AUTH: 401,
    C.NOT_FOUND: 404,
    C.QUOTA: 429,
    C.RATE_LIMIT: 429,
    C.SERVER: 500,
    C.OVERLOADED: 503,
    C.TIMEOUT: 504,
}

_TEXT_REFINES = frozenset({400, 403, 412, 413, 422, 429, 500})


def classify(status: int | None, codes: list[str], text: str) -> FailureClass:
    """Return the failure class for a status (null inside a 200), the codes and types of the body, and its messages."""
    by_code = next(
        (known for code in codes if (known := _BY_CODE.get(code.lower())) not in (None, C.BAD_REQUEST)), None
    )
    if status is None:
        plain = next((known for code in codes if (known := _BY_CODE.get(code.lower()))), C.SERVER)
        return by_code or _by_text(text) or plain
    if status == 413 and is_context_overflow(text):
        # Groq has one code for a prompt that is too large for a model and for one that is too large for a minute.
        return C.CONTEXT_LENGTH
    allowed = _REFINABLE.get(status, frozenset())
    if by_code in allowed and by_code is not None:
        return by_code
    if status == 400 and by_code is C.OVERLOADED:
        # The code only: the word stands in other texts as well.
        return by_code
    by_text = _by_text(text) if status in _TEXT_REFINES else None
    if by_text in allowed and by_text is not None:
        return by_text
    found = _BY_STATUS.get(status) or (C.BAD_REQUEST if 400 <= status < 500 else C.SERVER)
    return found if by_code is C.AUTH else without_blame(found, text, *codes)


def status_of_code(code: str) -> int | None:
    """Return the HTTP status that belongs to an error code or type received inside a 200; null if unknown."""
    known = _BY_CODE.get(code.lower())
    return None if known is None else _STATUS_OF_CLASS.get(known)


def _by_text(text: str) -> FailureClass | None:
    text = text[:4000]
    if is_context_overflow(text):
        return C.CONTEXT_LENGTH
    return next((failure_class for pattern, failure_class in _BY_TEXT if pattern.search(text)), None)
