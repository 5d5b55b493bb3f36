"""Read a completion while it passes through: its text, its tokens, its id; whole or event by event.

What passes is not changed, but for one event: the token counts that we asked for so that the cost
is known, and the client did not.
"""

from typing import Any

import orjson

from endpoints.catalogue.result import read_usage

DONE = b"[DONE]"


class Completion:
    """What is known of a completion so far."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.events = 0
        self.done = False
        self._whole: dict[str, Any] | None = None
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def read_whole(self, body: dict[str, Any]) -> None:
        self._whole = body
        self.done = True
        self._read_facts(body)

    def read_event(self, data: bytes) -> bool:
        """Take in the data of one event; whether it holds nothing but token counts."""
        if data.strip() == DONE:
            self.done = True
            return False
        self.events += 1
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError:
            return False
        if not isinstance(body, dict):
            return False
        self._read_facts(body)
        if not self._head:
            self._head = {key: body[key] for key in ("id", "created", "model") if key in body}
        choices = body.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._read_choice(choice)
        return choices == [] and isinstance(body.get("usage"), dict)

    @property
    def output(self) -> dict[str, Any] | None:
        """The completion as it would have come whole; None if nothing came."""
        if self._whole is not None:
            return self._whole
        if not self._choices:
            return None
        output = {**self._head, "choices": [self._choices[key] for key in sorted(self._choices)]}
        if self.input_tokens is not None and self.output_tokens is not None:
            output["usage"] = {
                "prompt_tokens": self.input_tokens,
                "completion_tokens": self.output_tokens,
                "total_tokens": self.input_tokens + self.output_tokens,
            }
        return output

    def _read_facts(self, body: dict[str, Any]) -> None:
        if isinstance(body.get("id"), str) and body["id"]:
            self.id = self.id or body["id"]
        if isinstance(body.get("usage"), dict):
            self.input_tokens, self.output_tokens = read_usage(body["usage"])

    def _read_choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index")
        known = self._choices.setdefault(index if isinstance(index, int) else 0, {"index": index})
        if choice.get("finish_reason"):
            known["finish_reason"] = choice["finish_reason"]
        if isinstance(choice.get("text"), str):
            known["text"] = known.get("text", "") + choice["text"]
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return
        message = known.setdefault("message", {"role": "assistant", "content": ""})
        for field, value in delta.items():
            if field == "tool_calls" and isinstance(value, list):
                _add_tool_calls(message.setdefault("tool_calls", []), value)
            elif field != "role" and isinstance(value, str):
                message[field] = message.get(field, "") + value


def _add_tool_calls(known: list[dict[str, Any]], deltas: list[Any]) -> None:
    """Each call comes in parts: its name first, then its arguments bit by bit."""
    for delta in deltas:
        if not isinstance(delta, dict) or not isinstance(delta.get("index"), int):
            continue
        call = next((one for one in known if one["index"] == delta["index"]), None)
        if call is None:
            call = {"index": delta["index"], "function": {"name": "", "arguments": ""}}
            known.append(call)
        call |= {key: delta[key] for key in ("id", "type") if delta.get(key)}
        function = delta.get("function")
        for field in ("name", "arguments"):
            if isinstance(function, dict) and isinstance(function.get(field), str):
                call["function"][field] += function[field]
