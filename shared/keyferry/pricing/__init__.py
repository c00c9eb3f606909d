"""List prices of tokens by provider, model and date, with their source."""
