"""Whether this process may run a container engine.

`python -m tests.containers.privileges` prints why it may not, and then exits with 1.
"""

import os
import sys
from pathlib import Path

NEEDED = {"CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27}
"""What the engine and `debootstrap` need beside root, by their numbers in capabilities(7)."""


def missing_privileges(uid: int, effective_capabilities: int) -> str:
    """Describe what is missing; empty if nothing is."""
    if uid != 0:
        return "starting a container engine needs root"
    missing = [name for name, number in NEEDED.items() if not effective_capabilities >> number & 1]
    return f"root lacks {', '.join(missing)} here, as in a container without privileges" if missing else ""


def own_privileges() -> tuple[int, int]:
    """Return the uid and the effective capabilities of this process."""
    status = Path("/proc/self/status").read_text()
    [capabilities] = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    return os.geteuid(), int(capabilities, 16)


if __name__ == "__main__":
    if reason := missing_privileges(*own_privileges()):
        print(reason)
        sys.exit(1)
