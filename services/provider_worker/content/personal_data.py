"""Replaces what looks like a credential or like data of a person in text that is stored in redacted form.

Patterns find forms, and no meaning: a name, an address in words, a number in an unusual form or a picture stays. Each is narrow,
since what is replaced without need makes an answer useless: card numbers and IBANs count only with a right check digit. Pure.
"""

import re
from collections.abc import Callable

from keyferry.contracts.misplaced_key import replace_keys

_DIGITS = frozenset("0123456789")
_IBAN_MODULUS = 97
_SHORTEST_PHONE, _LONGEST_PHONE = 8, 15

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\w.-])[2-6][0-9]{3}(?:[ -]?[0-9]{4}){2}[ -]?[0-9]{1,7}(?![\w-])")
_PHONE = re.compile(
    r"(?<![\w+./-])(?:\+|00)[1-9](?:[ ()/.-]{0,2}[0-9]){6,14}(?![\w-])|(?<![\w+./-])0[1-9](?:[ /-]?[0-9]){7,12}(?![\w-])"
)
_ADDRESS = re.compile(
    r"(?<![\w.])(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(?![\w.])"
)
_SOCIAL_SECURITY = re.compile(r"(?<![\w-])[0-9]{3}-[0-9]{2}-[0-9]{4}(?![\w-])")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.{0,8000}?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)


def redact(text: str) -> str:
    """Return `text` with `[redacted …]` for each credential and each piece of a person's data that has a known form."""
    text = _PRIVATE_KEY.sub("[redacted private key]", replace_keys(text))
    text = _EMAIL.sub("[redacted e-mail]", text)
    text = _IBAN.sub(_if_right(_is_iban, "[redacted IBAN]"), text)
    text = _CARD.sub(_if_right(_is_card, "[redacted card]"), text)
    text = _SOCIAL_SECURITY.sub("[redacted number]", text)
    text = _ADDRESS.sub("[redacted address]", text)
    return _PHONE.sub(_if_right(_is_phone, "[redacted phone]"), text)


def _if_right(check: Callable[[str], bool], replacement: str) -> Callable[[re.Match[str]], str]:
    return lambda match: replacement if check(match[0]) else match[0]


def _is_iban(text: str) -> bool:
    """Return whether the check digits are right (ISO 13616-1, mod 97)."""
    letters = text.replace(" ", "")
    return int("".join(str(int(one, 36)) for one in letters[4:] + letters[:4])) % _IBAN_MODULUS == 1


def _is_card(text: str) -> bool:
    """Return whether the check digit is right (ISO/IEC 7812-1, Luhn)."""
    digits = [int(one) for one in text if one in _DIGITS]
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2]]
    return len(digits) >= 13 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_phone(text: str) -> bool:
    return _SHORTEST_PHONE <= sum(one in _DIGITS for one in text) <= _LONGEST_PHONE
