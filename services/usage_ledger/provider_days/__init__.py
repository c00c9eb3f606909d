"""What attempts add up to by a provider's days, for comparing them with what the provider says."""
