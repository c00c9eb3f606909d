"""The seed of everything random in a run of the stress tests: given, or drawn and printed, so that a run can be repeated."""

import os
import secrets

VARIABLE = "KEYFERRY_TEST_SEED"


def random_seed() -> int:
    """The seed that the environment gives, else a fresh one; printed either way."""
    text = os.environ.get(VARIABLE)
    seed = int(text) if text else secrets.randbelow(1_000_000)
    print(f"{VARIABLE}={seed}")
    return seed
