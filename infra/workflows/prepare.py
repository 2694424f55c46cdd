"""Which checks does an order pass before anything is promised? The definition of the Express workflow ``prepare``.

Each step asks one function and goes on only with ``{"outcome": "passed"}``. Anything else ends the child at once: its
error is ``Held`` or ``Cancelled``, its cause the function's whole answer as JSON. Express is billed by time and not by
transition, so a Choice after each step costs nothing here.
"""

from __future__ import annotations

from typing import Any

# A crash, a timeout and a throttle have different names on each engine; a business outcome is always a returned value.
_RETRY = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 3, "BackoffRate": 2, "JitterStrategy": "FULL"}]

# (state, substitution of the function, which check)
_STEPS = (
    ("Validate", "ValidateOrder", None),
    ("CheckPrice", "CheckOrder", "price"),
    ("CheckCredit", "CheckOrder", "credit"),
    ("Reserve", "ReserveStock", None),
)


def definition() -> dict[str, Any]:
    """Amazon States Language with the substitutions ValidateOrder, CheckOrder and ReserveStock."""
    states: dict[str, Any] = {}
    for index, (name, function, check) in enumerate(_STEPS):
        payload = {"order_id": "{% $states.input.order_id %}"}
        if check is not None:
            payload["check"] = check
        following = _STEPS[index + 1][0] if index + 1 < len(_STEPS) else "Prepared"
        states[name] = {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {"FunctionName": f"${{{function}}}", "Payload": payload},
            "Retry": _RETRY,
            "Output": {"order_id": "{% $states.input.order_id %}", "answer": "{% $states.result.Payload %}"},
            "Next": f"{name}Passed",
        }
        states[f"{name}Passed"] = {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input.answer.outcome = 'passed' %}", "Next": following}],
            "Default": "Ended",
        }
    states["Prepared"] = {"Type": "Succeed", "Output": {"outcome": "passed"}}
    states["Ended"] = {
        "Type": "Fail",
        "Error": "{% $states.input.answer.outcome = 'cancelled' ? 'Cancelled' : 'Held' %}",
        "Cause": "{% $string($states.input.answer) %}",
    }
    return {"Comment": "validate, price, credit, reserve", "QueryLanguage": "JSONata", "StartAt": _STEPS[0][0], "States": states}
