"""Recognises provider keys and client tokens in what is recorded: names that somebody chooses, and what providers report.

A key is recognised by the prefix of its provider and what follows it: sixteen letters and digits in a row, or forty characters,
with a digit among them. No name of a model in use has that form. A key without a prefix looks like any name. Pure.
"""

import re

from keyferry.contracts.client_token import PREFIX
from keyferry.contracts.own_credentials import OPERATOR_PREFIX, SESSION_PREFIX, SIGN_IN_CODE_PREFIX
from keyferry.contracts.providers import PROVIDERS

_OTHER_PREFIXES = (
    *(PREFIX, "kf_test_", "kfi_", OPERATOR_PREFIX, SESSION_PREFIX, SIGN_IN_CODE_PREFIX),
    *("nvapi-", "csk-", "r8_", "ghp_", "github_pat_", "eyJ"),
    *("sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"),
)
"""Credentials of an installation, keys of vendors that `custom` is used for, JSON Web Tokens, keys of Stripe and webhooks."""
_PREFIXES = {*_OTHER_PREFIXES, *(prefix for row in PROVIDERS.values() for prefix in row.prefixes)}
_KEY = re.compile(
    rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, sorted(_PREFIXES)))})"
    r"(?=[\w-]{0,80}[0-9])(?:[\w-]{0,80}[A-Za-z0-9]{16}|[\w-]{40})",
    re.ASCII,
)
"""The repetitions are bounded, as it takes quadratic time to try a prefix that is repeated."""
_WHOLE = re.compile(rf"{_KEY.pattern}[\w+/=-]*", re.ASCII)
SHORTEST = min(map(len, _PREFIXES)) + 16
"""Characters: no shorter text is taken for a key."""


def may_be_key(text: str) -> bool:
    """Return whether `text` has something in it that may be a provider key or a client token."""
    return len(text) >= SHORTEST and _KEY.search(text) is not None


def replace_keys(text: str) -> str:
    """Return `text` with `[redacted]` for each part that may be a provider key or a client token."""
    return _WHOLE.sub("[redacted]", text) if may_be_key(text) else text
