"""The emulator's OpenAI-compatible route."""

import json

import aiohttp
import pytest

from endpoints.emulator import EmulatorConfig, listening

KEY = {"Authorization": "Bearer rpa_emulator"}
QWEN = "/v2/qwen3-32b-awq/openai/v1"
MODEL = "Qwen/Qwen3-32B-AWQ"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me about foxes."}]}


@pytest.fixture
async def client():
    """A caller of an emulator that answers at once."""
    config = EmulatorConfig(port=0, clock_factor=1000, spread=0, execution_seconds=1)
    async with (
        listening(config) as url,
        aiohttp.ClientSession(url, headers=KEY) as session,
    ):
        yield session


async def ask(client, path, body):
    """Return the HTTP status and the JSON of a reply."""
    async with client.post(path, json=body) as answer:
        return answer.status, await answer.json()


async def read_events(client, path, body):
    """Return the events of a streamed reply."""
    async with client.post(path, json={**body, "stream": True}) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = (await answer.text()).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


async def test_a_chat_is_cut_at_sixteen_tokens_unless_more_are_asked_for(client):
    _, short = await ask(client, f"{QWEN}/chat/completions", CHAT)
    code, long = await ask(client, f"{QWEN}/chat/completions", {**CHAT, "max_tokens": 500})

    assert code == 200
    assert short["usage"]["completion_tokens"] == 16
    assert short["choices"][0]["finish_reason"] == "length"
    assert long["choices"][0]["finish_reason"] == "stop"
    assert long["choices"][0]["message"]["content"].endswith(".")


async def test_a_stream_is_the_same_text_in_events(client):
    body = {**CHAT, "max_tokens": 500, "seed": 3, "stream_options": {"include_usage": True}}

    events = await read_events(client, f"{QWEN}/chat/completions", body)

    choices = [event["choices"][0] for event in events if event["choices"]]
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    assert choices[0]["delta"] == {"role": "assistant"}
    assert choices[-1]["finish_reason"] == "stop"
    assert len(choices) > 5
    assert text.endswith(".")
    assert "  " not in text
    assert events[-1]["usage"]["completion_tokens"] == -(-len(text) // 4)


async def test_a_text_completion_is_whole_or_streamed(client):
    body = {"model": MODEL, "prompt": "Tell me about foxes.", "max_tokens": 500}

    code, whole = await ask(client, f"{QWEN}/completions", body)
    events = await read_events(client, f"{QWEN}/completions", body)

    assert code == 200
    assert whole["choices"][0]["text"]
    assert "".join(event["choices"][0]["text"] for event in events)


async def test_an_endpoint_that_takes_messages_gets_them(client):
    body = {**CHAT, "model": "ibm-granite/granite-4.0-h-small"}

    code, _ = await ask(client, "/v2/granite-4-0-h-small/openai/v1/chat/completions", body)

    assert code == 200


async def test_the_name_of_an_endpoint_stands_for_its_default_model(client):
    body = {**CHAT, "model": "moonshot-kimi"}

    code, reply = await ask(client, "/v2/moonshot-kimi/openai/v1/chat/completions", body)

    async with client.get("/admin/ledger") as answer:
        ledger = await answer.json()
    tokens = reply["usage"]
    usd = 0.95e-6 * tokens["prompt_tokens"] + 4e-6 * tokens["completion_tokens"]
    assert (code, reply["model"]) == (200, "moonshot-kimi")
    assert float(ledger["total_usd"]) == pytest.approx(usd, abs=1e-8)


async def test_a_model_of_another_letter_case_is_unknown(client):
    code, reply = await ask(client, f"{QWEN}/chat/completions", {**CHAT, "model": MODEL.lower()})

    assert code == 404
    assert MODEL in reply["error"]["message"]


async def test_an_endpoint_without_this_route_knows_no_model(client):
    code, _ = await ask(client, "/v2/p-video/openai/v1/chat/completions", CHAT)

    assert code == 404


@pytest.mark.parametrize("wrong", [{"messages": []}, {"max_tokens": 0}, {"max_tokens": "many"}])
async def test_a_bad_body_is_a_400_in_openais_form(client, wrong):
    code, reply = await ask(client, f"{QWEN}/chat/completions", {**CHAT, **wrong})

    assert code == 400
    assert reply["error"]["type"] == "invalid_request_error"


async def test_a_failed_generation_is_a_500_and_free(client):
    await client.post("/admin/faults", json={"kind": "fail_job", "operation": "runsync"})

    code, reply = await ask(client, f"{QWEN}/chat/completions", CHAT)

    async with client.get("/admin/ledger") as answer:
        assert (await answer.json())["total_usd"] == "0"
    assert (code, reply["error"]["type"]) == (500, "server_error")


async def test_completions_are_billed_by_the_token(client):
    _, reply = await ask(client, f"{QWEN}/chat/completions", CHAT)

    async with client.get("/admin/ledger") as answer:
        ledger = await answer.json()
    tokens = reply["usage"]["total_tokens"]
    assert ledger["total_usd"] == f"{tokens / 100_000:.5f}"


async def test_models_are_listed_by_the_names_that_the_route_takes(client):
    async with client.get(f"{QWEN}/models") as answer:
        models = await answer.json()

    assert [model["id"] for model in models["data"]] == [MODEL]
