"""Backups of a whole installation: database, streams, spools and secrets in one encrypted file, and its restore."""
