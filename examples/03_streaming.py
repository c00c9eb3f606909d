"""A streamed chat with the OpenAI SDK, and its usage at the end. Run it in the directory of `make up`."""

from pathlib import Path

from openai import OpenAI

client = OpenAI(
    base_url="http://127.0.0.1:8400/v1",
    api_key=Path(".keyferry/secrets/demo-client-token").read_text().strip(),
)
messages = [{"role": "user", "content": "Hello as a stream"}]
stream = client.chat.completions.create(
    model="echo", messages=messages, stream=True, stream_options={"include_usage": True}
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
print("\ntokens:", chunk.usage.total_tokens)
