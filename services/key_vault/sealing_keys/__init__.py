"""Whatever holds the sealing keys, behind one protocol."""
