#!/bin/sh
# A streamed chat with curl. Run it in the directory of `make up`: sh examples/01_curl.sh
curl --no-buffer --fail-with-body http://127.0.0.1:8400/v1/chat/completions \
  -H "Authorization: Bearer $(cat .keyferry/secrets/demo-client-token)" \
  -H "Content-Type: application/json" \
  -d '{"model": "echo", "stream": true, "messages": [{"role": "user", "content": "Hello from curl"}]}'
