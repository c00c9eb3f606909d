"""List prices: what a token costs at a provider, for which model, from when on, and where that is known from."""
