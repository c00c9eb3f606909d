"""A new file for a secret that only its owner may read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keyferry.cli.problem import Problem
from keyferry.contracts.secret import Secret

OWNER_ONLY = 0o600


@contextmanager
def secret_file(path: Path, secret: Secret) -> Iterator[None]:
    """Write `secret` to a new file before the block runs, and remove the file if the block fails.

    The file comes first, so that no secret is registered that could not be saved. Raises Problem if it cannot be written.
    """
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY)
    except FileExistsError:
        raise Problem(f"{path} exists already", "Name a new file, or remove it first") from None
    except OSError as error:
        raise Problem(
            f"cannot write {path}: {error.strerror}", "Name a file in a directory that you may write"
        ) from None
    try:
        with os.fdopen(number, "w") as file:
            file.write(secret.reveal() + "\n")
        yield
    except BaseException:  # also Ctrl-C: leave no unregistered secret behind
        path.unlink(missing_ok=True)
        raise
