"""Replays recorded provider responses through the real adapters: the tool for adding a provider.

    uv run python -m services.provider_worker.replay FILE... [--json] [--seed N] [--provider NAME]
    uv run python -m services.provider_worker.replay --request FILE...

A real HTTP server on loopback answers with each recording, cut at random offsets (chosen by `--seed`), to a call made by the
worker's own HTTP client, and the adapter of the recording's provider reads it. A provider without one is read as `custom`, with a
note on standard error. A file that cannot be read is reported on standard error; the others are still replayed, and the exit
status is 2.

A recording is one JSON object:

    case        a name for it; the file's name if it is missing
    provider    one of the worker's providers, or a name of its own; `adapter` may name the provider whose API it follows
    endpoint    `chat.completions`, `embeddings`, `messages`, `generateContent`, `converse`, `v2/chat`, ...
    kind        `chat`, `stream`, `tools`, `embeddings`, `error`, ...: what it is an example of
    stream      whether the answer was streamed
    model       the model that was called
    request     what was sent: `body`, in the provider's own format
    response    `status`, `headers`, and one of `body` (JSON), `body_text` (text as received) and `body_b64` (bytes as received)

With `--json` one line is printed for each file, in the order of the files: what the caller would have got, in OpenAI's terms.

    case, text, reasoning_text, refusal, choices_text
    tool_calls      `name` and `arguments`, parsed if they are JSON, else the text
    finish_reason
    usage           `prompt_tokens`, `completion_tokens`, `total_tokens`, `cached_tokens`, `reasoning_tokens`,
                    `cache_write_tokens`
    embeddings      `count`, `dim`, and `head`: the first three numbers of the first three
    error           null, or `status` (the failure's own, also inside a 200), `class`, `where`, `retry_after_s`

`error.class` is one of auth, rate_limit, context_length, not_found, bad_request, overloaded, content_filter, server;
`error.where` is `http_status`, `http_200_body` or `mid_stream`.

With `--request` each file holds a caller's request instead, and nothing is sent: one line of JSON shows what would be, after
the ingress's validation and by the provider's adapter.

    provider            one of the worker's providers
    model               the provider's name of the model; the one in `callers_body` if it is missing
    key_fields          what the key has beside its secret, such as `region`; optional
    base_url            the address of the API, if not the provider's own; optional
    drop_unsupported    whether the tenant allows dropping unsupported fields; false if it is missing
    callers_body        the body of `POST /v1/chat/completions` or `/v1/embeddings`, `stream` included

The line has `url`, `headers` (without the key), `body` and `dropped` (the fields that are left out), or, if it is refused,
`refused` (the message) and `param` (the field, such as `tools[0].function.name`; null for the whole body).
"""
