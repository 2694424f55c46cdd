from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from infra.workflows import order, prepare

_CALLBACKS = ("Hold", "Post", "Release", "Compensate")


def _state(name: str) -> dict[str, Any]:
    found: dict[str, Any] = order.definition()["States"][name]
    return found


def _following(state: dict[str, Any]) -> Iterator[str]:
    if "Next" in state:
        yield state["Next"]
    if "Default" in state:
        yield state["Default"]
    for item in [*state.get("Catch", []), *state.get("Choices", [])]:
        yield item["Next"]


@pytest.mark.parametrize("definition", [order.definition(), prepare.definition()], ids=["order", "prepare"])
def test_every_state_is_reached_and_leads_somewhere(definition: dict[str, Any]) -> None:
    states, reached, waiting = definition["States"], set(), [definition["StartAt"]]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += _following(states[name])

    assert reached == set(states)
    for name, state in states.items():
        assert list(_following(state)) or state.get("End") or state["Type"] in ("Succeed", "Fail"), f"{name} ends nowhere"


def test_a_clean_order_makes_three_transitions() -> None:
    states, path, name = order.definition()["States"], [], order.definition()["StartAt"]
    while name:
        path.append(name)
        name = states[name].get("Next", "")

    assert path == ["Prepare", "Post", "Release"]
    assert states["Release"]["End"] is True


def test_every_order_passes_price_and_credit_before_anything_is_reserved() -> None:
    states, path, name = prepare.definition()["States"], [], prepare.definition()["StartAt"]
    while states[name]["Type"] != "Succeed":
        if states[name]["Type"] == "Task":
            path.append((name, states[name]["Arguments"]["Payload"].get("check")))
            name = states[name]["Next"]
        else:
            (choice,) = states[name]["Choices"]
            assert choice["Condition"] == "{% $states.input.answer.outcome = 'passed' %}"
            assert states[name]["Default"] == "Ended"
            name = choice["Next"]

    assert path == [("Validate", None), ("CheckPrice", "price"), ("CheckCredit", "credit"), ("Reserve", None)]


@pytest.mark.parametrize("name", _CALLBACKS)
def test_every_wait_asks_with_its_order_and_a_token_and_ends_some_day(name: str) -> None:
    state = _state(name)
    body = state["Arguments"]["MessageBody"]

    assert state["Resource"].endswith(":sqs:sendMessage.waitForTaskToken")
    assert body["request"] == name.lower()
    assert (body["order_id"], body["token"]) == ("{% $states.context.Execution.Input.order_id %}", "{% $states.context.Task.Token %}")
    assert isinstance(state["TimeoutSeconds"], int), "an expression here is not portable"


@pytest.mark.parametrize("name", _CALLBACKS)
def test_nothing_that_can_fail_fails_silently(name: str) -> None:
    assert _state(name)["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
    assert _state(name)["Catch"][-1]["Next"] == "Stuck"


@pytest.mark.parametrize("name", ["Hold", "Post", "Release"])
def test_an_order_can_be_called_off_wherever_it_waits(name: str) -> None:
    state = _state(name)

    assert state["Catch"][0]["ErrorEquals"] == ["Cancelled"]
    assert state["Catch"][0]["Next"] == "Compensate"
    assert "Cancelled" in state["Retry"][0]["ErrorEquals"], "else the wait would be asked again instead"
    assert state["Retry"][0]["MaxAttempts"] == 0


def test_what_could_not_be_compensated_goes_on_instead_of_ending_as_cancelled() -> None:
    assert _state("Compensate")["Next"] == "Compensated"
    assert _state("Compensated")["Choices"] == [{"Condition": "{% $states.input.cancelled = false %}", "Next": "Release"}]


def test_a_stuck_order_is_told_before_its_execution_fails() -> None:
    assert _state("Stuck")["Arguments"]["MessageBody"]["request"] == "stuck"
    assert _state("Stuck")["Next"] == "Failed"
    assert _state("Failed")["Type"] == "Fail"


def _evaluate(expression: str, states: dict[str, Any]) -> Any:
    jsonata = pytest.importorskip("jsonata", reason="comes with the local engine")
    compiled = jsonata.Jsonata(expression.removeprefix("{%").removesuffix("%}").strip())
    compiled.assign("states", states)
    # An intrinsic of Step Functions that plain JSONata does not have.
    compiled.register_lambda("parse", json.loads)
    return compiled.evaluate(None)


@pytest.mark.parametrize(
    "answer",
    [
        {"outcome": "held", "hold": {"kind": "credit", "detail": "plain"}},
        {"outcome": "held", "hold": {"kind": "price", "detail": "quotes \" ' bars | percent % ümlaut 漢 \n line"}},
        {"outcome": "held", "hold": {"kind": "sku", "detail": "crossdock|abc|"}},
    ],
)
def test_the_hold_gets_the_check_s_whole_answer_whatever_it_contains(answer: dict[str, Any]) -> None:
    failed = {"result": {"Status": "FAILED", "Error": "Held", "Cause": json.dumps(answer, ensure_ascii=False)}}
    with pytest.raises(Exception, match=r"crossdock\|") as raised:
        _evaluate(order._CHILD_ANSWER, failed)
    said = re.search(r"crossdock\|.*", str(raised.value), re.DOTALL)
    assert said

    # AWS quotes the expression around the error's text; others prefix a code.
    for wrapped in (f"D3137: {said[0]}", f"The JSONata expression '{order._CHILD_ANSWER}' threw an error: {said[0]} (entered at the event id #2)"):
        caught = _evaluate(order._CHILD_FAILURE, {"errorOutput": {"Error": "States.QueryEvaluationError", "Cause": wrapped}})
        assert caught["Error"] == "Held"
        assert json.loads(caught["Cause"]) == answer


def test_a_failure_that_is_no_check_s_answer_reaches_the_hold_as_it_is() -> None:
    failure = {"Error": "States.TaskFailed", "Cause": "the service does not answer"}

    assert dict(_evaluate(order._CHILD_FAILURE, {"errorOutput": failure})) == failure


def test_a_passed_preparation_raises_nothing() -> None:
    assert dict(_evaluate(order._CHILD_ANSWER, {"result": {"Status": "SUCCEEDED", "Output": "{}"}})) == {"outcome": "passed"}
