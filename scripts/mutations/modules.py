"""What may be changed, and the tests that are to notice.

The slow ones are run when the others have noticed nothing.
"""

from collections.abc import Mapping, Sequence

_T = "tests/integration/test_"

_STATES = (
    f"{_T}transitions.py",
    f"{_T}state_rules.py",
    f"{_T}ledger_rules.py",
    f"{_T}record_functions.py",
    f"{_T}interventions.py",
    f"{_T}doubts.py",
    f"{_T}hints.py",
    f"{_T}poison.py",
    f"{_T}breaker.py",
    f"{_T}cancelling.py",
    f"{_T}cancel_lane.py",
    f"{_T}start_deadline.py",
    f"{_T}lanes_table.py",
    f"{_T}lane_hangs.py",
    f"{_T}lane.py",
    f"{_T}submit_secrets.py",
)
_FILES = (
    f"{_T}words.py",
    f"{_T}state_rules.py",
    f"{_T}record_functions.py",
    f"{_T}archive.py",
    f"{_T}custody.py",
    f"{_T}poison.py",
    f"{_T}lane.py",
)
_WORDS = (
    *(f"{_T}words.py", f"{_T}record_functions.py", f"{_T}webhooks.py", f"{_T}poison.py"),
    f"{_T}custody.py",
    *(f"{_T}interventions.py", f"{_T}lane.py"),
)

TESTS: Mapping[str, Sequence[str]] = {
    "models/transitions.py": _STATES,
    "models/claims.py": (*_STATES, *_FILES, *_WORDS),
    "models/interventions.py": _STATES,
    "models/lane.py": (*_STATES, f"{_T}api_lanes.py"),
    "models/attempt.py": (*_STATES, f"{_T}migrations.py"),
    "models/artifact.py": (f"{_T}artifact_lists.py", *_FILES),
    "models/delivery.py": _WORDS,
    "tasks/submit.py": _STATES,
    "tasks/poll.py": _STATES,
    "tasks/cancel.py": _STATES,
    "tasks/archive.py": _FILES,
    "tasks/notify.py": _WORDS,
    "tasks/webhook.py": _WORDS,
    "tasks/breaker.py": _STATES,
    "tasks/retry_policy.py": (
        *_STATES,
        "tests/unit/test_retry_policy.py",
        "tests/unit/test_docs.py",
    ),
}

_SLOW_STATES = (
    f"{_T}gateway_control.py",
    f"{_T}gateway_deadlines.py",
    f"{_T}gateway_run.py",
    f"{_T}state_machine.py",
)

SLOW: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(TESTS, _SLOW_STATES),
    "models/artifact.py": (f"{_T}gateway_run.py", f"{_T}api_artifacts.py"),
    "tasks/archive.py": (f"{_T}gateway_run.py", f"{_T}api_artifacts.py"),
    "models/delivery.py": (f"{_T}gateway_run.py",),
    "tasks/notify.py": (),
    "tasks/webhook.py": (),
}
