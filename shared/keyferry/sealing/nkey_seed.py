"""The seed of a NATS user's nkey, as it stands in files."""

import binascii

import nkeys

from keyferry.contracts.secret import Secret


class NotAnNkeySeed(ValueError):
    """A text that is no nkey seed. The message may be shown."""


def parse_nkey_seed(text: str) -> Secret:
    """Return `text` if it is an nkey seed. Raises NotAnNkeySeed."""
    try:
        prefix, raw = nkeys.decode_seed(text.encode())
        intact = nkeys.encode_seed(raw, prefix) == text.encode()  # nkeys does not verify the checksum by itself
    except (nkeys.NkeysError, binascii.Error, ValueError):
        intact = False
    if not intact:
        raise NotAnNkeySeed("this is no nkey seed")
    return Secret(text)
