"""The seed of everything random in a stress test: given, or drawn and printed, so that a run can be repeated."""

import os
import secrets

VARIABLE = "KEYFERRY_TEST_SEED"


def random_seed() -> int:
    """Return the seed from the environment, or a fresh one; print it either way."""
    text = os.environ.get(VARIABLE)
    seed = int(text) if text else secrets.randbelow(1_000_000)
    print(f"{VARIABLE}={seed}")
    return seed
