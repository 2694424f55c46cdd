"""What waits in the life of an order, and for whom? The definition of the Standard workflow ``order``.

A clean order makes three transitions: Prepare, Post, Release (which ends when all is shipped, confirmed and invoiced). Everything else (choices, holds, compensation)
stands off that path, because each transition of a Standard workflow costs as much as 125 Lambda requests.

A waiting step sends ``{"request", "order_id", "token"}`` to the work queue; whoever finishes it answers the token.
Failing a token with the error ``Cancelled`` calls the order off; any other failure, after retries, ends in ``Stuck``.
"""

from __future__ import annotations

from typing import Any

ORDER_ID = "{% $states.context.Execution.Input.order_id %}"

# The real deadlines are records of our own that a sweeper watches: a JSONata TimeoutSeconds is not portable, and a
# promised window is data. This is only the far end, so that no execution can wait for ever.
BACKSTOP_SECONDS = 30 * 24 * 3600

_ONCE = {"ErrorEquals": ["Cancelled", "States.Timeout"], "MaxAttempts": 0}
_TRANSIENT = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 4, "BackoffRate": 2, "JitterStrategy": "FULL"}

# A failed child is an answer, not an error: this turns it into a catchable one without a Choice on the happy path. The
# child's error and cause travel percent-encoded between two marks, because engines wrap the text of an $error
# differently and AWS quotes the expression itself around it.
_CHILD_ANSWER = (
    "{% $states.result.Status = 'SUCCEEDED' ? {'outcome': 'passed'} : "
    "$error('crossdock|' & $encodeUrlComponent($string({'Error': $states.result.Error, 'Cause': $states.result.Cause})) & '|') %}"
)
_CHILD_FAILURE = (
    "{% ($found := $match($states.errorOutput.Cause, /crossdock\\|([A-Za-z0-9_.!~*'()%-]+)\\|/); "
    "$exists($found) ? $parse($decodeUrlComponent($found[-1].groups[0])) : $states.errorOutput) %}"
)


def _ask(request: str, *, following: str, catch_cancel: bool, **more: str) -> dict[str, Any]:
    """Send the request to the work queue and wait until somebody answers its token."""
    catch = [{"ErrorEquals": ["Cancelled"], "Output": "{% $states.errorOutput %}", "Next": "Compensate"}] if catch_cancel else []
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Arguments": {
            "QueueUrl": "${WorkQueueUrl}",
            "MessageBody": {"request": request, "order_id": ORDER_ID, "token": "{% $states.context.Task.Token %}", **more},
            "MessageGroupId": ORDER_ID,
        },
        "TimeoutSeconds": BACKSTOP_SECONDS,
        "Retry": [_ONCE, _TRANSIENT],
        "Catch": [*catch, {"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Stuck"}],
        "Next": following,
    }


def definition() -> dict[str, Any]:
    """Amazon States Language with the substitutions PrepareMachine and WorkQueueUrl."""
    release = _ask("release", following="", catch_cancel=True)
    del release["Next"]
    return {
        "Comment": "prepare, post, release until it is settled; holds and compensation off the path",
        "QueryLanguage": "JSONata",
        "StartAt": "Prepare",
        "States": {
            "Prepare": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:sfn:startSyncExecution",
                "Arguments": {
                    "StateMachineArn": "${PrepareMachine}",
                    "Input": "{% $string($states.context.Execution.Input) %}",
                    "Name": "{% $substring($states.context.Execution.Name, 0, 60) & '-' & $substring($uuid(), 0, 18) %}",
                },
                "Output": _CHILD_ANSWER,
                "Retry": [{"ErrorEquals": ["States.QueryEvaluationError"], "MaxAttempts": 0}, _TRANSIENT],
                "Catch": [{"ErrorEquals": ["States.ALL"], "Output": _CHILD_FAILURE, "Next": "NotPrepared"}],
                "Next": "Post",
            },
            "NotPrepared": {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $states.input.Error = 'Cancelled' %}", "Next": "Compensate"}],
                "Default": "Hold",
            },
            "Hold": _ask("hold", following="Resume", catch_cancel=True, why="{% $states.input %}"),
            "Resume": {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $states.input.resume = 'post' %}", "Next": "Post"}],
                "Default": "Prepare",
            },
            "Post": _ask("post", following="Release", catch_cancel=True),
            "Release": {**release, "End": True},
            "Compensate": _ask("compensate", following="Compensated", catch_cancel=False),
            "Compensated": {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $states.input.cancelled = false %}", "Next": "Release"}],
                "Default": "Cancelled",
            },
            "Cancelled": {"Type": "Succeed"},
            "Stuck": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sqs:sendMessage",
                "Arguments": {
                    "QueueUrl": "${WorkQueueUrl}",
                    "MessageBody": {"request": "stuck", "order_id": ORDER_ID, "why": "{% $states.input %}"},
                    "MessageGroupId": ORDER_ID,
                },
                "Output": "{% $states.input %}",
                "Retry": [_TRANSIENT],
                "Next": "Failed",
            },
            "Failed": {
                "Type": "Fail",
                "Error": "Stuck",
                "Cause": "{% $string($states.input) %}",
            },
        },
    }
