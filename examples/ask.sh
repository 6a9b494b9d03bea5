# SPDX-License-Identifier: MIT
# Two shell functions for trying the examples: . examples/ask.sh
#   ask [curl options]            one chat completion (of MODEL); prints the status, the attempts and what was said
#   fault PROVIDER FAULT          gives a pretend provider a fault; "" mends it

ask() {
    curl -siN "${GATEWAY:-http://127.0.0.1:8080}/v1/chat/completions" -H 'content-type: application/json' \
        -d "{\"model\":\"${MODEL:-gpt-4o}\",\"messages\":[{\"role\":\"user\",\"content\":\"Who are you?\"}]${STREAM:+,\"stream\":true}}" "$@" |
        tr -d '\r' | grep -oE '^HTTP.*|^x-moongate-attempts.*|"content":"[^"]*"|"message":"[^"]*"'
}

fault() {
    curl -s "${PRETEND:-http://127.0.0.1:8000}/pretend/fault" -H 'content-type: application/json' \
        -d "{\"provider\":\"$1\",\"fault\":\"$2\"}"
    echo
}
