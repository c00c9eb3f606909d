"""Which adapter reads a recording. Pure."""

from collections.abc import Mapping

from services.provider_worker.adapters.adapter import Adapter
from services.provider_worker.replay.recording import Recording

CUSTOM = "custom"
_ALSO_CALLED: Mapping[str, str] = {
    "openai_compatible": CUSTOM,
    "azure_openai": "azure",
    "aws_bedrock": "bedrock",
    "google": "gemini",
    "google_ai_studio": "gemini",
    "google_vertex": "vertex",
    "vertex_ai": "vertex",
    "mistralai": "mistral",
    "x_ai": "xai",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "hugging_face": "huggingface",
    "llama_cpp": "llamacpp",
}
"""Names under which others record the providers."""


def provider_of(recorded: Recording, adapters: Mapping[str, Adapter]) -> str | None:
    """The provider whose adapter reads the recording: its own, or that of the dialect it names; null where neither is known."""
    for name in (recorded.provider, recorded.dialect):
        known = name.lower().replace("-", "_").replace(".", "_")
        known = _ALSO_CALLED.get(known, known)
        if known in adapters:
            return known
    return None
