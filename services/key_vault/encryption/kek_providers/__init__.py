"""Whatever holds the KEKs, behind one protocol."""
