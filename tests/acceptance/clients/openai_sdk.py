"""The `openai` package against one endpoint's OpenAI-compatible route, as its users write it."""

import os

import openai  # type: ignore[import-not-found]

ROUTE = os.environ["RUNPOD_ENDPOINT_BASE_URL"] + "/qwen3-32b-awq/openai/v1"
MODEL = "Qwen/Qwen3-32B-AWQ"
MESSAGES = [
    {"role": "system", "content": "You watch birds."},
    {"role": "user", "content": "Tell me of herons."},
]
_client = openai.OpenAI(base_url=ROUTE, api_key=os.environ["RUNPOD_API_KEY"], max_retries=0)


def models():
    return [model.id for model in _client.models.list()]


def chat():
    reply = _client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=60)
    [choice] = reply.choices
    return {
        "said": choice.message.content,
        "role": choice.message.role,
        "finish_reason": choice.finish_reason,
        "usage": reply.usage.model_dump(),
    }


def streamed_chat():
    chunks = list(
        _client.chat.completions.create(
            model=MODEL,
            messages=MESSAGES,
            max_tokens=60,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return {
        "pieces": [choice.delta.content for choice in choices if choice.delta.content],
        "finish_reasons": [choice.finish_reason for choice in choices if choice.finish_reason],
        "usage": chunks[-1].usage.model_dump(),
    }


def completion():
    reply = _client.completions.create(model=MODEL, prompt="Tell me of herons.", max_tokens=60)
    [choice] = reply.choices
    return {
        "said": choice.text,
        "finish_reason": choice.finish_reason,
        "usage": reply.usage.model_dump(),
    }


def wrong_key():
    stranger = openai.OpenAI(base_url=ROUTE, api_key="prk_wrong", max_retries=0)
    return stranger.chat.completions.create(model=MODEL, messages=MESSAGES)


def wrong_model():
    return _client.chat.completions.create(model="no-such-model", messages=MESSAGES)
