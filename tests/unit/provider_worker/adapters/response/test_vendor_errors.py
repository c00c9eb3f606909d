"""What each vendor says in its own form when a prompt does not fit, and in the failures that another candidate may not have.

All texts are hand-made in the vendors' forms.
"""

import json

import pytest

from keyferry.contracts.failure import FailureClass
from services.provider_worker.adapters.adapter import UpstreamRequest
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.adapters.response.context_overflow import is_context_overflow
from tests.support.providers.attempt_runs import attempt_run

C = FailureClass
JsonObject = dict[str, object]

OVERFLOWS: dict[str, tuple[str, int, object]] = {
    "openai": (
        "openai",
        400,
        "This model's maximum context length is 10 tokens. However, your messages resulted in 12 tokens.",
    ),
    "openai gpt-5": (
        "openai",
        400,
        "Input tokens exceed the configured limit of 10 tokens. Your messages resulted in 12 tokens.",
    ),
    "openai window": (
        "openai",
        400,
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
    ),
    "azure": ("azure", 400, "This model's maximum context length is 10 tokens, however you requested 12 tokens."),
    "github models": ("azure", 413, "Request body too large for gpt-x model. Max size: 10 tokens."),
    "copilot": ("custom", 400, "prompt token count of 12 exceeds the limit of 10"),
    "anthropic": ("anthropic", 400, "prompt is too long: 12 tokens > 10 maximum"),
    "anthropic both": (
        "anthropic",
        400,
        "input length and `max_tokens` exceed context limit: 8 + 4 > 10, decrease input length",
    ),
    "bedrock": ("bedrock", 400, "Input is too long for requested model."),
    "bedrock claude": (
        "bedrock",
        400,
        "The model returned the following errors: prompt is too long: 12 tokens > 10 maximum",
    ),
    "bedrock nova": (
        "bedrock",
        400,
        (
            "The model returned the following errors: Input Tokens Exceeded: Number of input tokens exceeds"
            " maximum length."
        ),
    ),
    "bedrock titan": ("bedrock", 400, "Too many input tokens. Max input tokens: 10, request input token count: 12"),
    "bedrock titan text": (
        "bedrock",
        400,
        "Malformed input request: expected maxLength: 10, actual: 12, please reformat your input",
    ),
    "bedrock llama": (
        "bedrock",
        400,
        "This model's maximum context length is 10 tokens. Please reduce the length of the prompt",
    ),
    "gemini": ("gemini", 400, "The input token count (12) exceeds the maximum number of tokens allowed (10)."),
    "vertex": (
        "vertex",
        400,
        "Unable to submit request because the input token count is 12 but model only supports up to 10.",
    ),
    "mistral": (
        "mistral",
        400,
        "Prompt contains 12 tokens and 0 draft tokens, too large for model with 10 maximum context length",
    ),
    "cohere": ("cohere", 400, "too many tokens: total number of tokens in the prompt cannot exceed 10 - received 12."),
    "cohere v2": (
        "cohere",
        400,
        "too many tokens: size limit exceeded by 2 tokens. Try using shorter or fewer inputs.",
    ),
    "groq": ("groq", 400, "Please reduce the length of the messages or completion."),
    "groq large": ("groq", 413, "Request too large, please reduce your message size and try again."),
    "together": (
        "together",
        422,
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 10. Given: 12 `inputs` tokens",
    ),
    "together new": ("together", 400, "The input (12 tokens) is longer than the model's context length (10 tokens)."),
    "fireworks": ("fireworks", 400, "The prompt is too long: 12, model maximum context length: 10"),
    "deepseek": ("deepseek", 400, "This model's maximum context length is 10 tokens. However, you requested 12 tokens"),
    "xai": ("xai", 400, "This model's maximum prompt length is 10 but the request contains 12 tokens."),
    "openrouter": (
        "openrouter",
        400,
        "This endpoint's maximum context length is 10 tokens. However, you requested about 12 tokens",
    ),
    "perplexity": ("perplexity", 400, "The prompt is too long for the model's context."),
    "deepinfra": ("deepinfra", 400, "This model's maximum context length is 10 tokens, but the prompt has 12."),
    "huggingface": ("huggingface", 422, "Input validation error: `inputs` must have less than 10 tokens. Given: 12"),
    "vllm": ("vllm", 400, "The decoder prompt (length 12) is longer than the maximum model length of 10."),
    "vllm both": (
        "vllm",
        400,
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 8. This model's maximum context length is 10"
            " tokens and your request has 4 input tokens"
        ),
    ),
    "ollama": ("ollama", 400, "prompt too long; exceeded max context length by 2 tokens"),
    "ollama embeddings": ("ollama", 400, "the input length exceeds the context length"),
    "llamacpp": ("llamacpp", 400, "the request exceeds the available context size (10 tokens), try increasing it"),
    "llamacpp slot": ("llamacpp", 500, "Context size has been exceeded."),
    "tabbyapi": ("custom", 400, "Prompt length 12 is greater than max_seq_len 10"),
    "mlc": ("custom", 400, "Request prompt has 12 tokens in total, larger than the model input length limit 10."),
    "llamacpp batch": ("llamacpp", 500, "input is too large to process. increase the physical batch size"),
    "sglang": ("custom", 400, "Requested token count exceeds the model's maximum context length of 10 tokens."),
    "sglang input": ("custom", 400, "Input length (12 tokens) exceeds the maximum allowed length (10 tokens)."),
    "lm studio": (
        "custom",
        400,
        "The number of tokens to keep from the initial prompt is greater than the context length.",
    ),
    "moonshot": ("custom", 400, "Invalid request: Your request exceeded model token limit: 10 (requested: 12)"),
    "zhipu": ("custom", 400, {"error": {"code": "1261", "message": "Prompt 超长"}}),
    "z.ai": ("custom", 400, "Prompt exceeds max length"),
    "minimax": ("custom", 400, "invalid params, context window exceeds limit (2013)"),
    "minimax in 200": (
        "custom",
        200,
        {
            "choices": None,
            "base_resp": {"status_code": 2013, "status_msg": "invalid params, context window exceeds limit"},
        },
    ),
    "dashscope": ("custom", 400, "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 10]"),
    "cerebras": (
        "custom",
        400,
        {"message": "Current length is 12 while limit is 10", "code": "context_length_exceeded"},
    ),
    "sambanova": ("custom", 400, "Requested tokens exceed the model context window"),
    "nvidia": ("custom", 400, "This model's maximum context length is 10 tokens."),
    "cloudflare": (
        "custom",
        413,
        {
            "success": False,
            "errors": [
                {
                    "code": 5021,
                    "message": "AiError: The estimated number of input and"
                    " maximum output tokens (12) exceeded this model context window limit (10).",
                }
            ],
        },
    ),
    "watsonx": (
        "custom",
        400,
        {
            "errors": [
                {
                    "code": "invalid_input_argument",
                    "message": "the number of input tokens 12 cannot exceed the total tokens limit 10 for this model",
                }
            ]
        },
    ),
    "siliconflow": ("custom", 400, "length of prompt_tokens (12) must be less than max_seq_len (10)."),
    "volcengine": ("custom", 400, "Total tokens of image and text exceed max message tokens."),
    "databricks": ("custom", 400, {"error_code": "BAD_REQUEST", "message": "prompt token count 12 cannot exceed 10"}),
    "ai21": ("custom", 400, {"detail": "Prompt is too long"}),
    "a gateway": ("custom", 400, "The input length exceeds the limit of the model"),
    "another gateway": ("custom", 400, "Request exceeds the maximum input length of 10"),
    "chinese": ("custom", 400, "输入长度超过模型上限"),
}

OTHERS: dict[str, tuple[str, int, object, FailureClass]] = {
    # About the size of the answer, or of a rate: no longer model helps.
    "openai output": (
        "openai",
        400,
        ("max_tokens is too large: 9. This model supports at most 8 completion tokens, whereas you provided 9."),
        C.BAD_REQUEST,
    ),
    "max_tokens": ("custom", 400, "max_tokens must be less than or equal to 8192", C.BAD_REQUEST),
    "max_tokens sign": (
        "deepseek",
        400,
        "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
        C.BAD_REQUEST,
    ),
    "dashscope output": ("custom", 400, "Range of max_tokens should be [1, 8192]", C.BAD_REQUEST),
    "anthropic output": (
        "anthropic",
        400,
        "max_tokens: 9 > 8, which is the maximum allowed number of output tokens for claude-x",
        C.BAD_REQUEST,
    ),
    "bedrock output": (
        "bedrock",
        400,
        (
            "The maximum tokens you requested exceeds the model limit of 8. Try again with a maximum tokens"
            " value that is lower than 8."
        ),
        C.BAD_REQUEST,
    ),
    "cohere output": (
        "cohere",
        400,
        (
            "too many tokens: max tokens must be less than or equal to 8, the maximum output length for this"
            " model - received 9."
        ),
        C.BAD_REQUEST,
    ),
    "openai minute": (
        "openai",
        429,
        (
            "Request too large for gpt-x on tokens per min (TPM): Limit 10, Requested 12. The input or output"
            " tokens must be reduced in order to run successfully."
        ),
        C.RATE_LIMIT,
    ),
    "groq minute": (
        "groq",
        413,
        {
            "error": {
                "code": "rate_limit_exceeded",
                "message": "Request too large for model `m` on tokens per"
                " minute (TPM): Limit 10, Requested 12, please reduce your message size and try again.",
            }
        },
        C.RATE_LIMIT,
    ),
    "anthropic minute": (
        "anthropic",
        429,
        "This request would exceed your organization's rate limit of 10 input tokens per minute.",
        C.RATE_LIMIT,
    ),
    "bedrock minute": ("bedrock", 429, "Too many tokens, please wait before trying again.", C.RATE_LIMIT),
    "gemini minute": ("gemini", 429, "Quota exceeded for input token count per minute.", C.RATE_LIMIT),
    "image": ("custom", 400, "The input image exceeds the maximum size of 5 MB", C.BAD_REQUEST),
    "parameter": ("custom", 400, "Unknown parameter: context_window", C.BAD_REQUEST),
    # Credit
    "deepseek credit": ("deepseek", 402, "Insufficient Balance", C.QUOTA),
    "openai credit": (
        "openai",
        429,
        {"error": {"code": "insufficient_quota", "message": "You exceeded your quota"}},
        C.QUOTA,
    ),
    "xai credit": (
        "xai",
        403,
        "Your team has either used all available credits or reached its monthly spending limit",
        C.QUOTA,
    ),
    "fireworks credit": (
        "fireworks",
        412,
        "Account is suspended, possibly due to reaching the monthly spending limit",
        C.QUOTA,
    ),
    "zhipu credit": ("custom", 429, {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}, C.QUOTA),
    "minimax credit": (
        "custom",
        200,
        {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
        C.QUOTA,
    ),
    "dashscope credit": (
        "custom",
        400,
        {
            "error": {
                "code": "Arrearage",
                "message": "Access denied, please pay.",
            }
        },
        C.QUOTA,
    ),
    "novita credit": (
        "custom",
        403,
        {"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "not enough balance"},
        C.QUOTA,
    ),
    "siliconflow credit": ("custom", 403, "Sorry, your account balance is insufficient", C.QUOTA),
    "cloudflare credit": (
        "custom",
        429,
        {"errors": [{"code": 4006, "message": "you have used up your daily free allocation"}]},
        C.QUOTA,
    ),
    "bedrock payment": (
        "bedrock",
        403,
        "INVALID_PAYMENT_INSTRUMENT: A valid payment instrument must be provided.",
        C.QUOTA,
    ),
    "gateway credit": (
        "custom",
        500,
        {"error": {"code": "insufficient_user_quota", "message": "user quota is not enough"}},
        C.QUOTA,
    ),
    # Keys
    "xai key": (
        "xai",
        400,
        {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: x"},
        C.AUTH,
    ),
    "gemini key": ("gemini", 400, "API key not valid. Please pass a valid API key.", C.AUTH),
    "minimax key": ("custom", 200, {"base_resp": {"status_code": 2049, "status_msg": "invalid api key"}}, C.AUTH),
    "blocked address": (
        "custom",
        403,
        "<html><title>Attention Required! | Cloudflare</title>you have been blocked</html>",
        C.SERVER,
    ),
    # Models
    "deepseek model": ("deepseek", 400, "Model Not Exist", C.NOT_FOUND),
    "mistral model": ("mistral", 400, "Invalid model: m", C.NOT_FOUND),
    "zhipu model": ("custom", 400, {"error": {"code": "1211", "message": "模型不存在，请检查模型代码。"}}, C.NOT_FOUND),
    "openrouter model": ("openrouter", 404, "No endpoints found for m.", C.NOT_FOUND),
    "openai project": (
        "openai",
        403,
        {"error": {"code": "model_not_found", "message": "Project does not have access to model m"}},
        C.NOT_FOUND,
    ),
    "lm studio model": ("custom", 400, "No models loaded. Please load a model in the developer page.", C.NOT_FOUND),
    "cloudflare model": (
        "custom",
        400,
        {"errors": [{"code": 5007, "message": "No such model m or task"}]},
        C.NOT_FOUND,
    ),
    # Filters
    "dashscope filter": (
        "custom",
        400,
        {"error": {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}},
        C.CONTENT_FILTER,
    ),
    "moonshot filter": (
        "custom",
        400,
        "The request was rejected because it was considered high risk",
        C.CONTENT_FILTER,
    ),
    "zhipu filter": (
        "custom",
        400,
        {"error": {"code": "1301", "message": "可能包含不安全或敏感内容"}},
        C.CONTENT_FILTER,
    ),
    "minimax filter": (
        "custom",
        200,
        {"base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}},
        C.CONTENT_FILTER,
    ),
    # Overload
    "overloaded as 400": (
        "custom",
        400,
        {"error": {"type": "overloaded_error", "message": "Overloaded"}},
        C.OVERLOADED,
    ),
    "overloaded in 200": (
        "custom",
        200,
        {"error": {"type": "overloaded_error", "message": "Overloaded"}},
        C.OVERLOADED,
    ),
    "zhipu overloaded": ("custom", 429, {"error": {"code": "1305", "message": "该模型当前访问量过大"}}, C.OVERLOADED),
    "cloudflare overloaded": (
        "custom",
        429,
        {"errors": [{"code": 3040, "message": "Capacity temporarily exceeded"}]},
        C.OVERLOADED,
    ),
}


def class_of(provider: str, status: int, said: object) -> FailureClass:
    if isinstance(said, str) and not said.startswith("<html"):
        flat = provider in ("bedrock", "cohere", "mistral")
        said = {"message": said} if flat else {"error": {"message": said, "type": "invalid_request_error"}}
    body = said.encode() if isinstance(said, str) else json.dumps(said).encode()
    request = UpstreamRequest("https://provider.test", {}, b"")
    reader = ADAPTERS[provider].reader(attempt_run(), request, status, {"content-type": "application/json"})
    reader.feed(body)
    failure = reader.close().failure
    assert failure is not None
    return failure.failure_class


@pytest.mark.parametrize("name", OVERFLOWS)
def test_an_overflow_of_the_context_is_recognised(name: str) -> None:
    provider, status, said = OVERFLOWS[name]
    assert class_of(provider, status, said) is C.CONTEXT_LENGTH


@pytest.mark.parametrize("name", OVERFLOWS)
def test_an_overflow_inside_a_200_is_recognised(name: str) -> None:
    provider, status, said = OVERFLOWS[name]
    if provider == "custom" and status == 400 and isinstance(said, str):
        assert class_of(provider, 200, said) is C.CONTEXT_LENGTH


@pytest.mark.parametrize("name", OTHERS)
def test_other_failures_have_their_own_class(name: str) -> None:
    provider, status, said, failure_class = OTHERS[name]
    assert class_of(provider, status, said) is failure_class


@pytest.mark.parametrize(
    "text", ["", "x" * 4000, "tokens " * 500, "exceed " * 500, "prompt (" + "a" * 3000, "maximum " * 500]
)
def test_no_text_takes_long(text: str) -> None:
    assert not is_context_overflow(text)
