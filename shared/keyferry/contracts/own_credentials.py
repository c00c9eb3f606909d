"""The credentials of a Keyferry installation by their form, so that none of them is taken for a provider's key. Pure."""

import re

from keyferry.contracts import client_token

OPERATOR_PREFIX = "kf_operator_"
"""What a generated operator's token begins with."""
SESSION_PREFIX = "kfs_"
"""What the token of somebody who has signed in begins with."""
SIGN_IN_CODE_PREFIX = "kfc_"
"""What a code of the built-in login begins with."""
SEALED_PREFIX = "kf_sealed_"
"""What a provider key begins with that is sealed to the vault's intake key."""

_FORMS = (
    (re.compile(rf"{SEALED_PREFIX}.*"), "a sealed key, which is given as `sealed`, or not sealed by yourself"),
    (re.compile(rf"{OPERATOR_PREFIX}.*"), "the operator's token of a Keyferry installation"),
    (re.compile(rf"(?:{client_token.PREFIX}|kf_test_).*"), "a client token of a Keyferry installation"),
    (
        re.compile(rf"(?:{SESSION_PREFIX}|{SIGN_IN_CODE_PREFIX}).*"),
        "the session of somebody who has signed in to Keyferry",
    ),
    (re.compile(r"kf_[a-z]+_.*"), "a credential of a Keyferry installation"),
    # The seed of an nkey: S, its kind, and 32 bytes and a checksum in base32 (github.com/nats-io/nkeys).
    (re.compile(r"S[ACNOUX][A-Z2-7]{56}"), "the seed of an nkey, with which a process signs in to NATS"),
    (re.compile(r"(?:postgres(?:ql)?(?:\+[a-z0-9]+)?|nats|tls)://.*"), "the URL of a database or a NATS server"),
    (
        re.compile(r"(?:key|tok|req|att|dec|dek|aud|inst|spl|dep|isec)_[0-9a-v]{26}"),
        "the id of a key, a token or a request, not the key itself",
    ),
)


def describe_own_credential(text: str) -> str | None:
    """Return which credential of an installation `text` looks like, for a sentence; None if it looks like none."""
    return next((what for form, what in _FORMS if form.fullmatch(text)), None)
