"""What a request takes from the result before it: of a link before it in a chain, of a chord's
header.

    from_previous={"image": "artifacts.0"}     a place in the input: a path into that result
    from_previous={"images": "*.artifacts.0"}  into a group's results: one of each
    from_previous={"messages.0.content": ""}   the whole of it, which may be a task's of one's own

A path is names and numbers, joined by dots; `*` is each item of a list. It stands beside the input,
not in it, so that nothing in an input can be taken for one.

A file (an item of `artifacts`, or our link to it wherever it stands in the result) becomes an
address that the upstream can fetch: the upstream's own while it lives for an hour, since that needs
nothing of ours to be reachable; after that ours, if the upstream can reach it.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.intake import InvalidRequest

LEAST_LIFE = dt.timedelta(hours=1)  # of the upstream's address: the job may have to wait
EACH = "*"


def fill_input(
    endpoint: str,
    given: Mapping[str, Any],
    wanted: Mapping[str, str],
    previous: Any,  # noqa: ANN401 -- any JSON
    *,
    reachable: bool,
    now: dt.datetime,
) -> dict[str, Any]:
    """The input with what it wants of the previous result.

    Args:
        reachable: whether the upstream can fetch our own links.

    Raises:
        InvalidRequest: a path leads nowhere, or a file cannot be fetched any more.
    """
    files = {file["url"]: file for file in _find_files(previous) if file.get("url")}
    filled: dict[str, Any] = _copy(given)
    problems = []
    for place, path in wanted.items():
        try:
            found = _address_files(_follow(previous, path), files, reachable=reachable, now=now)
            _put(filled, place, found)
        except LookupError as error:
            problems.append(f"from_previous.{place}: {error.args[0]}")
    if problems:
        raise InvalidRequest(endpoint, problems)
    return filled


def _follow(value: Any, path: str) -> Any:  # noqa: ANN401 -- any JSON
    steps = path.split(".") if path else []
    for index, step in enumerate(steps):
        if step == EACH and isinstance(value, list):
            return [_follow(item, ".".join(steps[index + 1 :])) for item in value]
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            where = ".".join(steps[:index]) or "the result before it"
            raise LookupError(f"{path!r} was wanted; {where} is {_describe(value)}")
    return value


def _put(target: Any, place: str, value: Any) -> None:  # noqa: ANN401 -- any JSON
    """Set the place; objects that are not there are made, items of lists must be."""
    *parents, last = place.split(".")
    for index, step in enumerate((*parents, last)):
        if isinstance(target, dict):
            if index == len(parents):
                target[step] = value
            target = target.setdefault(step, {})
        elif isinstance(target, list) and step.isdecimal() and int(step) < len(target):
            if index == len(parents):
                target[int(step)] = value
            target = target[int(step)]
        else:
            where = ".".join(parents[:index])
            raise LookupError(f"there is no such place: input.{where} is {_describe(target)}")


def _address_files(
    value: Any,  # noqa: ANN401 -- any JSON
    files: Mapping[str, Mapping[str, Any]],
    *,
    reachable: bool,
    now: dt.datetime,
) -> Any:  # noqa: ANN401
    def address(one: Any) -> Any:  # noqa: ANN401
        if isinstance(one, list):
            return [address(item) for item in one]
        if isinstance(one, str) and one in files:
            return _choose_address(files[one], reachable=reachable, now=now)
        if _is_file(one):
            return _choose_address(one, reachable=reachable, now=now)
        if isinstance(one, dict):
            return {name: address(item) for name, item in one.items()}
        return one

    return address(value)


def _choose_address(file: Mapping[str, Any], *, reachable: bool, now: dt.datetime) -> str:
    source, ours = str(file["source_url"]), file.get("url")
    expires_at = dt.datetime.fromisoformat(file["expires_at"])
    if source.startswith("http") and expires_at - now > LEAST_LIFE:
        return source
    if ours and reachable:
        return str(ours)
    why = (
        f"the upstream's copy goes at {expires_at:%Y-%m-%d %H:%M} UTC"
        if source.startswith("http")
        else "the upstream keeps no copy of it"
    )
    raise LookupError(
        f"an address of {file.get('field') or 'the file'} was wanted; {why}, and ours "
        + ("is not there" if reachable else "cannot be reached from there (PRESSROOM_PUBLIC_URL)")
    )


def _find_files(value: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401 -- any JSON
    if isinstance(value, list):
        for item in value:
            yield from _find_files(item)
    elif isinstance(value, dict) and isinstance(value.get("artifacts"), list):
        yield from filter(_is_file, value["artifacts"])


def _is_file(value: Any) -> bool:  # noqa: ANN401 -- any JSON
    return isinstance(value, dict) and {"source_url", "url", "expires_at"} <= value.keys()


def _copy(value: Any) -> Any:  # noqa: ANN401 -- any JSON
    if isinstance(value, Mapping):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _describe(value: Any) -> str:  # noqa: ANN401 -- any JSON
    """What is there, without what it says: errors are logged."""
    if isinstance(value, dict):
        return f"an object of {', '.join(map(str, value)) or 'nothing'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "nothing" if value is None else f"a {type(value).__name__}"
