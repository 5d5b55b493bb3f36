"""Call every public function of a program beside this file; print each one's end as a JSON line."""

import asyncio
import importlib
import inspect
import json
import sys
import traceback


def main(program: str) -> None:
    module = importlib.import_module(program)
    for name, scenario in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("_") or scenario.__module__ != program:
            continue
        end: dict[str, object] = {"scenario": name}
        try:
            result = scenario()
            end["result"] = asyncio.run(result) if inspect.iscoroutine(result) else result
        except Exception as error:  # noqa: BLE001 -- the test says whether it had to be raised
            end["raised"] = f"{type(error).__name__}: {error}"
            end["trace"] = traceback.format_exc()
        print(json.dumps(end), flush=True)  # noqa: T201 -- what the test reads


main(sys.argv[1])
