"""Distinguishes a refusal of what is requested from a refusal of the key, where both come as 401 or 403. Pure.

Providers answer 403 to a feature that a model does not have ("your request did not allow prompt caching"), or that an
account may not use for it ("You are not allowed to request logprobs from this model"). Only the class `auth` disables a
key, so no such answer may have it. A text that speaks of the key as well is about the key.
"""

import re

from keyferry.contracts.failure import FailureClass

_CODES = re.compile(
    r"(?:unsupported|invalid|unknown|missing)_(?:parameter|value|type|feature|content|image|schema|tool)\w*"
    r"|(?:feature|parameter|operation|modality)_(?:is_)?(?:not_)(?:supported|enabled|allowed|available)|validation_?error",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"api[ _-]?keys?\b|\bkeys? (?:is|are|was|has|provided)|\bcredentials?\b|authenticat"
    r"|authoriz(?!ed to (?:request|use|set|send|pass|enable))|\bsignature|\bsigned?\b"
    r"|\b(?:security|access|bearer|auth|session|identity|refresh|id|jwt|api|oauth)[ _-]tokens?\b"
    r"|(?<!max )\btokens? (?:is|was|has|in the request|included|provided)|\bsubscription key\b"
    r"|\bapi access\b|\baccess (?:to )?(?:the |this |our )?api\b"
    r"|\b(?:account|user|organization|project)\b.{0,40}\b(?:disabled|deactivated|suspended|blocked|banned|terminated)",
    re.IGNORECASE,
)
_FEATURE = (
    r"prompt caching|cach(?:e|ing)|cache_control|cache ?points?|tools?|tool[ _](?:use|choice|calling)|function calling"
    r"|stream(?:ing)?|images?|audio|video|vision|documents?|pdf|files?|log_?probs|json|schemas?|structured outputs?"
    r"|response[ _]format"
    r"|reasoning(?:[ _]effort)?|thinking|temperature|top_[pk]|max_(?:completion_)?tokens|stop(?: sequences)?|seed"
    r"|system (?:prompts?|messages?)|parameters?|fields?|features?|modalit(?:y|ies)|content types?|service[ _]tier|guardrails?"
    r"|web[ _]search|predicted outputs?|embeddings?|dimensions|batch(?:es)?|inference"
)
_REFUSED = (
    r"not (?:been )?(?:supported|available|allowed|permitted|enabled|compatible|implemented|valid)"
    r"|(?:unsupported|disabled|invalid|unavailable)"
)
_TEXTS = re.compile(
    rf"request did not allow|(?:did|does|do) ?(?:not|n.t) (?:support|allow|accept|permit|take)\b"
    rf"|\b(?:{_FEATURE})\b.{{0,80}}\b(?:{_REFUSED})\b"
    rf"|\b(?:unsupported|invalid|unknown|unrecognized) (?:\w+ ){{0,2}}(?:{_FEATURE}|value|argument)\b"
    rf"|not (?:allowed|permitted|authorized|entitled) to (?:request|use|set|send|pass|enable) (?:\w+ ){{0,2}}(?:{_FEATURE})\b"
    rf"|\b(?:not|n.t) (?:have )?(?:access|permission) to (?:use )?(?:the |this )?(?:\w+ ){{0,2}}(?:{_FEATURE})\b"
    rf"|must be verified to (?:stream|use|generate)\b",
    re.IGNORECASE,
)
_MOST_CHARACTERS = 4000


def without_blame(failure_class: FailureClass, text: str, *codes: str) -> FailureClass:
    """Return the class of a refusal: `bad_request` in place of `auth` where its text or a code speaks of the request."""
    if failure_class is not FailureClass.AUTH:
        return failure_class
    text = text[:_MOST_CHARACTERS]
    blamed = any(_CODES.fullmatch(code) for code in codes) or _TEXTS.search(text)
    return FailureClass.BAD_REQUEST if blamed and not _KEY.search(text) else failure_class
