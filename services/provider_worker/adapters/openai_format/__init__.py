"""Shared by adapters whose provider does not speak OpenAI's dialect: reading the caller's request and writing OpenAI's answer."""
