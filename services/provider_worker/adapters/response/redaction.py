"""Makes provider messages safe to show a tenant: no key, no account, no address, at most a few lines."""

import re

MAX_MESSAGE_CHARACTERS = 600
_MAX_READ_CHARACTERS = 8192
"""Text beyond this is cut before any pattern runs over it."""

_MARK = "[redacted]"
_SECRETS = re.compile(
    r"""
      \b(?:sk|pk|rk|gsk|xai|hf|r8|pplx|tgp|nvapi|fw|csk|key|sess)[-_](?=[\w*.…-]*[\d*A-Z])[\w*.…-]{4,}  # keys, masked ones too
    | \bAIza[\w-]{10,} | \b(?:AKIA|ASIA)[A-Z0-9]{12,} | \beyJ[\w-]{10,}(?:\.[\w-]+)*                     # Google, AWS, JWT
    | \bBearer\s+[^\s"',]+
    | \b(?:org|proj|user|acct|team|ws)[-_](?=[\w-]*[\dA-Z])[\w-]{4,}                                     # accounts
    | [\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}                                                    # e-mail
    | \b\d{12}\b                                                                                         # AWS accounts
    | \b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b                                                    # UUIDs
    | \b(?=\w*\d)[A-Za-z0-9]{32,}\b                                                                      # unprefixed keys
    | \b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b                                                               # IPv4
    """,
    re.VERBOSE,
)
_INVISIBLE = re.compile(
    r"<(?:script|style)\b.*?(?:</(?:script|style)>|\Z)|<!--.*?(?:-->|\Z)", re.DOTALL | re.IGNORECASE
)
_TAG = re.compile(r"<[^<>]{0,1000}>")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def sanitise(message: str) -> str:
    """Return `message` on one line, without secrets and account names, at most `MAX_MESSAGE_CHARACTERS` characters."""
    text = message[:_MAX_READ_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    text = _SPACE.sub(" ", _SECRETS.sub(_MARK, text)).strip()
    return text if len(text) <= MAX_MESSAGE_CHARACTERS else text[: MAX_MESSAGE_CHARACTERS - 1] + "…"


def strip_html(page: str) -> str:
    """Return the visible text of an HTML page, or plain text unchanged."""
    text = page[:_MAX_READ_CHARACTERS]
    return _TAG.sub(" ", _INVISIBLE.sub(" ", text)) if text.lstrip().startswith("<") else text


def safe_code(code: object) -> str | None:
    """Return `code` if it is a plain word as providers use for error codes, else null."""
    if not isinstance(code, str) or not _CODE.fullmatch(code) or _SECRETS.search(code):
        return None
    return code
