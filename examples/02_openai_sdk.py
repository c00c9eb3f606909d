"""One chat with the OpenAI SDK: only the base URL and the key change. Run it in the directory of `make up`."""

from pathlib import Path

from openai import OpenAI

client = OpenAI(
    base_url="http://127.0.0.1:8400/v1",
    api_key=Path(".keyferry/secrets/demo-client-token").read_text().strip(),
)
answer = client.chat.completions.create(
    model="echo",
    messages=[{"role": "user", "content": "Hello from the SDK"}],
)
print(answer.choices[0].message.content)
