"""Translation between the OpenAI format and each provider's API, both ways. Pure."""
