"""Cohere's API v2: chats and embeddings."""
