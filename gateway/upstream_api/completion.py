"""Read a completion while it passes through: its text, its tokens, its id; whole or event by event.

What passes is not changed, but for one event: the token counts that we asked for so that the cost
is known, and the client did not.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

from endpoints.catalogue.result import read_usage
from endpoints.replies import read_error_text, read_json

DONE = b"[DONE]"
_EMPTY_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")


async def split_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole events, byte for byte, each as soon as the empty line is there that ends it."""
    held = bytearray()
    seen = 0  # bytes in which no empty line begins
    async for chunk in chunks:
        held += chunk
        while found := _EMPTY_LINE.search(held, seen):
            event = bytes(held[: found.end()])
            del held[: found.end()]
            seen = 0
            yield event
        seen = max(len(held) - 3, 0)
    if held:
        yield bytes(held)


class Completion:
    """What is known of a completion so far."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.events = 0
        self.done = False  # it came to its end
        self.error: str | None = None  # that came in its place
        self._whole: dict[str, Any] | None = None
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def read_whole(self, content: bytes) -> None:
        """Take in a reply that came whole: it is `done` if it holds a completion."""
        body = read_json(content)
        if isinstance(body, dict) and isinstance(body.get("choices"), list):
            self._whole = body
            self.done = True
            self._read_facts(body)
        else:
            said = read_error_text(body.get("error")) if isinstance(body, dict) else None
            self.error = said or "what came is no completion"

    def read_event(self, event: bytes) -> bool:
        """Take in one event; whether it holds nothing but token counts."""
        data = b"\n".join(
            line.partition(b":")[2].removeprefix(b" ")
            for line in event.splitlines()
            if line.startswith(b"data:")
        )
        if not data:  # a comment, to keep the connection open
            return False
        if data.strip() == DONE:
            self.done = self.error is None
            return False
        self.events += 1
        body = read_json(data)
        if not isinstance(body, dict):
            return False
        self._read_facts(body)
        if not self._head:
            self._head = {key: body[key] for key in ("id", "created", "model") if key in body}
        choices = body.get("choices")
        if not isinstance(choices, list):
            self.error = read_error_text(body.get("error")) or self.error
            return False
        for choice in choices:
            if isinstance(choice, dict):
                self._read_choice(choice)
        return not choices and isinstance(body.get("usage"), dict)

    def close(self, broke: str | None = None) -> bool:
        """No more will come; whether that must be said, for it is neither done nor was an error.

        Without the last word it is done if each of its texts said that it is.

        Args:
            broke: how it was cut off; None: it was not.
        """
        finished = [choice.get("finish_reason") for choice in self._choices.values()]
        if broke is None and self.error is None and finished and all(finished):
            self.done = True
        if self.done or self.error is not None:
            return False
        self.error = broke or "it ended before it was complete"
        return True

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
