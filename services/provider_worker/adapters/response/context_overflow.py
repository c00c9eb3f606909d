"""How providers and servers say that a prompt does not fit a model's context, so that a longer model can be tried.

One row per form, with those who use it. Sources: the providers' error references, the sources of the open servers, recorded
traffic, and the lists that agents keep to compact their history. A rate limit counts tokens too, and a parameter may be larger
than a model's output; neither is an overflow.
"""

import re
from collections.abc import Mapping

FORMS: Mapping[str, str] = {
    "OpenAI, Azure, DeepSeek, OpenRouter, Mistral, Together, NVIDIA, Novita, Hyperbolic, vLLM, SGLang": (
        r"maximum context length|maximum (?:prompt|model|sequence) length"
    ),
    "OpenAI (Responses), Anthropic, Bedrock": r"exceed(?:s|ed|ing)? (?:the |its )?(?:\S+ )?context (?:window|length|size|limit)",
    "OpenAI (GPT-5)": r"input tokens exceed|messages resulted in \d+ tokens",
    "OpenAI, Cerebras, Groq": r"reduce the length of (?:the |your |either )?(?:messages|prompt|input|one)|reduce your prompt",
    "Anthropic, Fireworks, Ollama, DeepInfra, AI21": (
        r"(?:prompt|input|context) (?:is )?too (?:long|large)|too long.{0,40}context"
    ),
    "Bedrock (Titan, Nova, Cohere), Cohere": (
        r"too many (?:input |prompt )?tokens(?! per)|input tokens exceeded|number of input tokens"
    ),
    "Bedrock (Titan)": r"expected maxlength: \d+, actual: \d+",
    "Gemini, Vertex": (
        r"token count.{0,60}(?:exceeds|only supports)"
        r"|exceeds? the maximum (?:number of (?:input )?tokens|(?:allowed )?input)"
    ),
    "xAI": r"prompt length is \d+ but the request contains",
    "Mistral": r"too large for model with \d+",
    "Cohere": r"number of tokens.{0,60}cannot exceed|(?:input|prompt) exceeds|size limit exceeded by \d+ tokens",
    "Together, Hugging Face, TGI": r"inputs` (?:must have less than|tokens \+)",
    "Together, SGLang": r"longer than the (?:model.?s |maximum )?(?:context|model|allowed)",
    "SGLang": r"token count exceeds the model|input length.{0,40}exceeds",
    "vLLM": r"(?:decoder )?prompt \(?.{0,40}is longer than|max_model_len",
    "llama.cpp": (
        r"exceeds? the available context|context size has been exceeded"
        r"|larger than the max context|too large to process.{0,60}batch size"
    ),
    "TabbyAPI, MLC": r"(?:prompt|context) length \d+ is greater than|larger than the model input length",
    "LM Studio": r"greater than the context length|context the overflows|reached context length|not enough.{0,80}larger context",
    "GitHub Models": r"request body too large for \S+ model|prompt token count of \d+ exceeds",
    "Moonshot": r"exceeded model token limit",
    "Zhipu, Z.ai": r"prompt exceeds max length|prompt ?超长",
    "MiniMax": r"context window exceeds limit",
    "DashScope, SambaNova, iFlytek": r"range of input length should be",
    "Cloudflare": r"exceeded this model context window",
    "watsonx": r"cannot exceed the total tokens limit",
    "SiliconFlow": r"length of prompt_tokens.{0,40}must be less than",
    "Volcengine": r"tokens of (?:image and )?text exceed|exceeds? max(?:imum)? message tokens",
    "Databricks": (
        r"(?:prompt|input) token count .{0,40}(?:cannot exceed|exceeds)"
        r"|exceeds? (?:the )?maximum allowed (?:content )?length"
    ),
    "vendors in Chinese": (
        r"输入长度超过|上下文长度|超过最大长度|超出最大长度|长度超限"
        r"|超出.{0,8}上下文|超过.{0,8}上下文"
    ),
    "gateways": (
        r"(?:input|prompt|request|message)s? (?:text )?(?:length|tokens?|token count)\b.{0,40}\bexceed"
        r"|exceed(?:s|ed)? .{0,40}\b(?:max(?:imum)? (?:input|prompt) (?:length|tokens?|size))|"
        r"context[_ ](?:length|window|size)[_ ](?:is |was )?(?:exceed|too)|context overflow|token limit exceeded"
        r"|configured context size|context (?:length|window) (?:is )?(?:only|of (?:only )?\d)|reduce your message size"
    ),
}
"""Who says it -> the pattern."""

_OVERFLOW = re.compile("|".join(FORMS.values()), re.IGNORECASE)
_OTHER = re.compile(
    r"""
      tokens?\ per\ (?:min|day|hour|second|month) | \bTP[MD]\b | rate\ ?limit | throttl | too\ many\ requests
    | please\ wait
    | (?<!\+\ `)max(?:imum)?[_ ]?(?:(?:new|completion|output)_?)?tokens['"`]?\ (?:must|should|cannot|has\ to|is\ limited)
    | maximum\ (?:output\ length | (?:allowed\ )?number\ of\ output\ tokens | tokens\ you\ requested)
    | completion\ tokens,\ whereas | range\ of\ max_
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Texts that count tokens and are about a rate or about the size of the answer."""


def is_context_overflow(text: str) -> bool:
    """Return whether a provider's message says that the prompt does not fit the model's context."""
    return _OVERFLOW.search(text) is not None and _OTHER.search(text) is None
