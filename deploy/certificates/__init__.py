"""A certificate authority for one installation, for those who have none."""
