"""OpenAI's format, for adapters of other APIs: parses the caller's request and builds OpenAI's answer."""
