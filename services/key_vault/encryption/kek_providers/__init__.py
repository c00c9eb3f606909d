"""KEK providers behind one protocol: a keyring file, AWS KMS, Vault transit."""
