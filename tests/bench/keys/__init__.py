"""What the way of a provider key costs: from the vault's tables to a worker's hands."""

WARM = "lease warm"
"""The key is in the worker's memory."""
COLD = "lease cold, one at a time"
"""The vault is asked over the bus, and writes the lease down before it answers."""
REWRAP = "sealing key rotation, a data key"
READ_BEFORE = "a record opened, no rotation"
READ_MEANWHILE = "a record opened, during a rotation"
