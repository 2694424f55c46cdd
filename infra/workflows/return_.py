"""What waits in the life of a return, and for whom? The definition of the Standard workflow ``return``.

A return that comes makes three transitions: Authorise, Receive, Settle. Failing a token with the error ``CalledOff`` (declined, withdrawn,
nothing came) leads to CallOff, which ends when everybody who was told of the return knows. Any other failure, after retries, ends in ``Stuck``.
"""

from __future__ import annotations

from typing import Any

RETURN_ID = "{% $states.context.Execution.Input.return_id %}"

# As in the order's workflow: the real deadlines are records of our own; this is only the far end.
BACKSTOP_SECONDS = 180 * 24 * 3600

_ONCE = {"ErrorEquals": ["CalledOff", "States.Timeout"], "MaxAttempts": 0}
_TRANSIENT = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 4, "BackoffRate": 2, "JitterStrategy": "FULL"}


def _ask(request: str, *, following: str | None, catch_call_off: bool) -> dict[str, Any]:
    """Send the request to the work queue and wait until somebody answers its token."""
    catch = [{"ErrorEquals": ["CalledOff"], "Output": "{% $states.errorOutput %}", "Next": "CallOff"}] if catch_call_off else []
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Arguments": {
            "QueueUrl": "${WorkQueueUrl}",
            "MessageBody": {"request": request, "return_id": RETURN_ID, "token": "{% $states.context.Task.Token %}"},
            "MessageGroupId": RETURN_ID,
        },
        "TimeoutSeconds": BACKSTOP_SECONDS,
        "Retry": [_ONCE, _TRANSIENT],
        "Catch": [*catch, {"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Stuck"}],
        **({"Next": following} if following else {"End": True}),
    }


def definition() -> dict[str, Any]:
    """Amazon States Language with the substitution WorkQueueUrl."""
    return {
        "Comment": "authorise, receive, settle; calling off beside the path",
        "QueryLanguage": "JSONata",
        "StartAt": "Authorise",
        "States": {
            "Authorise": _ask("authorise", following="Receive", catch_call_off=True),
            "Receive": _ask("receive", following="Settle", catch_call_off=True),
            "Settle": _ask("settle", following=None, catch_call_off=False),
            "CallOff": _ask("call_off", following=None, catch_call_off=False),
            "Stuck": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sqs:sendMessage",
                "Arguments": {
                    "QueueUrl": "${WorkQueueUrl}",
                    "MessageBody": {"request": "stuck", "return_id": RETURN_ID, "why": "{% $states.input %}"},
                    "MessageGroupId": RETURN_ID,
                },
                "Output": "{% $states.input %}",
                "Retry": [_TRANSIENT],
                "Next": "Failed",
            },
            "Failed": {"Type": "Fail", "Error": "Stuck", "Cause": "{% $string($states.input) %}"},
        },
    }
