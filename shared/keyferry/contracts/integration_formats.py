"""The forms of integration secrets, so that one in the wrong place is refused with what it is instead. Pure."""

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass

from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.misplaced_key import may_be_key
from keyferry.contracts.origin import ForbiddenUrl, check_url
from keyferry.contracts.own_credentials import describe_own_credential
from keyferry.contracts.providers import PROVIDERS, owners_of
from keyferry.contracts.text import is_safe

MAX_SECRET_CHARACTERS = 2000
SLACK_ORIGINS = ("https://hooks.slack.com/", "https://hooks.slack-gov.com/")
SIGNING_PREFIX = "whsec_"
_MIN_SIGNING_BYTES, _MAX_SIGNING_BYTES = 24, 64
"""Standard Webhooks, "Signature scheme"."""
_ELLIPSIS = "…"
_TAIL = 4
_SHOWN_SHARE = 3
"""At most one in this many characters of a secret is shown."""


class ImplausibleSecret(ValueError):
    """A text that cannot be a secret of its kind. The message can be shown: it repeats no part of the text."""


@dataclass(frozen=True, slots=True)
class SecretForm:
    """What a kind is called, where its owner finds it, and the form of its secrets if that is known."""

    title: str
    found_at: str
    pattern: re.Pattern[str] | None = None
    begins: str = ""
    """The beginning, for people."""
    shown: tuple[str, ...] = ()
    """Beginnings that say nothing about the secret and may be shown."""


FORMS = {
    IntegrationKind.STRIPE_API_KEY: SecretForm(
        "a secret or restricted key of Stripe",
        "the Stripe dashboard, under Developers > API keys",
        re.compile(r"[sr]k_(?:live|test)_[A-Za-z0-9_]{10,250}"),
        "sk_live_, sk_test_, rk_live_ or rk_test_",
        ("sk_live_", "sk_test_", "rk_live_", "rk_test_"),
    ),
    IntegrationKind.STRIPE_WEBHOOK_SECRET: SecretForm(
        "the signing secret of a webhook endpoint at Stripe",
        "the Stripe dashboard, under Developers > Webhooks > the endpoint > Signing secret",
        re.compile(r"whsec_[A-Za-z0-9+/=_-]{16,250}"),
        SIGNING_PREFIX,
        (SIGNING_PREFIX,),
    ),
    IntegrationKind.LAGO_API_KEY: SecretForm(
        "an API key of Lago", "Lago, under Developers > API keys", re.compile(r"[A-Za-z0-9._-]{16,250}")
    ),
    IntegrationKind.SMTP_PASSWORD: SecretForm(
        "the password of an account at a mail server", "the settings of the account that sends the mails"
    ),
    IntegrationKind.SLACK_WEBHOOK_URL: SecretForm(
        "the URL of an incoming webhook of Slack",
        "api.slack.com/apps, under the app's Incoming Webhooks",
        re.compile(r"https://hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[A-Za-z0-9_/-]{10,500}"),
        "https://hooks.slack.com/",
        SLACK_ORIGINS,
    ),
    IntegrationKind.WEBHOOK_SECRET: SecretForm(
        "a signing secret of an outgoing webhook",
        "the answer to `keyferry webhooks add --tenant TENANT --url URL`",
        re.compile(r"whsec_[A-Za-z0-9+/]{32,88}={0,2}"),
        SIGNING_PREFIX,
        (SIGNING_PREFIX,),
    ),
    IntegrationKind.OPENAI_ADMIN_KEY: SecretForm(
        "an admin key of an OpenAI organization",
        "platform.openai.com/settings/organization/admin-keys",
        re.compile(r"sk-admin-[A-Za-z0-9_-]{16,250}"),
        "sk-admin-",
        ("sk-admin-",),
    ),
    IntegrationKind.ANTHROPIC_ADMIN_KEY: SecretForm(
        "an admin key of an Anthropic organization",
        "console.anthropic.com/settings/admin-keys",
        re.compile(r"sk-ant-admin[A-Za-z0-9_-]{16,250}"),
        "sk-ant-admin",
        ("sk-ant-admin",),
    ),
    IntegrationKind.OPENROUTER_MANAGEMENT_KEY: SecretForm(
        "a management key of OpenRouter",
        "openrouter.ai/settings/management-keys",
        re.compile(r"sk-or-v1-[A-Za-z0-9_-]{16,250}"),
        "sk-or-v1-",
        ("sk-or-v1-",),
    ),
}
_LOOK_ALIKES = (
    (re.compile(r"pk_(?:live|test)_.*"), "a publishable key of Stripe, which may not do anything"),
    (re.compile(r"(?:sk|rk)_(?:live|test)_.*"), FORMS[IntegrationKind.STRIPE_API_KEY].title),
    (re.compile(r"whsec_.*"), "the signing secret of a webhook"),
    (re.compile(r"https://hooks\.slack(?:-gov)?\.com/.*"), FORMS[IntegrationKind.SLACK_WEBHOOK_URL].title),
    (
        re.compile(r"xox[a-z]-.*|xapp-.*"),
        "a token of a Slack app; Keyferry posts to an incoming webhook, and needs its URL",
    ),
    (re.compile(r"sk-admin-.*"), FORMS[IntegrationKind.OPENAI_ADMIN_KEY].title),
    (re.compile(r"sk-ant-admin.*"), FORMS[IntegrationKind.ANTHROPIC_ADMIN_KEY].title),
    (re.compile(r"(?:we|acct|cus|pi|ch|evt)_[A-Za-z0-9]+"), "the id of something at Stripe, not a secret"),
)


def check_secret_format(kind: IntegrationKind, text: str, *, private_networks: bool = False) -> None:
    """Check that `text` can be a secret of this kind. Raises ImplausibleSecret, which says what it looks like instead.

    Where the operator allows private networks, a chat in one of them may stand in for Slack: then any URL is one of a webhook.
    """
    form = FORMS[kind]
    _check_text(kind, text)
    if own := describe_own_credential(text):
        raise ImplausibleSecret(f"this looks like {own}, and not {form.title}")
    if kind is IntegrationKind.SLACK_WEBHOOK_URL and private_networks and _is_other_url(text):
        return
    looks_like = _describe(text) or ("a provider key" if may_be_key(text) else None)
    if not form.begins and looks_like is not None:
        raise ImplausibleSecret(f"this looks like {looks_like}, and not {form.title}")
    if form.pattern is not None and form.pattern.fullmatch(text) is None:
        raise ImplausibleSecret(_mismatch(form, text))
    if kind is IntegrationKind.WEBHOOK_SECRET:
        _check_signing_key(text)


def mask_secret(kind: IntegrationKind, text: str) -> str:
    """Return what may be shown of a secret: the beginning that its kind has, and its last characters; of a password nothing."""
    if kind is IntegrationKind.SMTP_PASSWORD:
        return _ELLIPSIS
    head = next((begin for begin in FORMS[kind].shown if text.startswith(begin)), "")
    rest = text[len(head) :]
    tail = min(_TAIL, len(rest) // _SHOWN_SHARE)
    return f"{head}{_ELLIPSIS}{rest[len(rest) - tail :]}"


def _check_text(kind: IntegrationKind, text: str) -> None:
    if not text:
        raise ImplausibleSecret("the secret is empty")
    if len(text) > MAX_SECRET_CHARACTERS:
        raise ImplausibleSecret(
            f"the secret has more than {MAX_SECRET_CHARACTERS} characters: give only the secret itself"
        )
    if text.startswith("-----BEGIN") or (text.startswith("{") and text.endswith("}")):
        raise ImplausibleSecret(f"this is a private key or a credentials file, and not {FORMS[kind].title}")
    plain = is_safe(text) and text == text.strip()
    if not plain or (kind is not IntegrationKind.SMTP_PASSWORD and not (text.isascii() and " " not in text)):
        raise ImplausibleSecret(
            "the secret has spaces, line breaks or characters that do not belong there; copy it again, without quotes and"
            " line ends"
        )


def _check_signing_key(text: str) -> None:
    try:
        length = len(b64decode(text.removeprefix(SIGNING_PREFIX), validate=True))
    except (binascii.Error, ValueError):
        length = 0
    if not _MIN_SIGNING_BYTES <= length <= _MAX_SIGNING_BYTES:
        raise ImplausibleSecret(
            f"a signing secret is whsec_ and {_MIN_SIGNING_BYTES} to {_MAX_SIGNING_BYTES} random bytes in base64"
        )


def _is_other_url(text: str) -> bool:
    if text.startswith(SLACK_ORIGINS):
        return False
    try:
        check_url(text, allow_plain_http=True, ports=None)
    except ForbiddenUrl:
        return False
    return True


def _mismatch(form: SecretForm, text: str) -> str:
    found = _describe(text)
    if found is not None and found != form.title and not (form.begins and text.startswith(form.shown)):
        return f"this looks like {found}, and not {form.title}"
    if form.begins and not text.startswith(form.shown):
        return f"{form.title} begins with {form.begins}; find it at {form.found_at}"
    return f"this is not all of {form.title}, or more than that; copy it again from {form.found_at}"


def _describe(text: str) -> str | None:
    """Return what a text looks like, for a sentence; None if it looks like nothing known."""
    for pattern, what in _LOOK_ALIKES:
        if pattern.fullmatch(text):
            return what
    owners = owners_of(text)
    return f"a key of {' or '.join(PROVIDERS[name].title for name in owners)}" if owners else None
