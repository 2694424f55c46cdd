"""A vendor's answer is input too: what does each connector make of one that is not what its contract says?

The property: a classified error or a right answer, soon; and after a write that was taken, never an error that says it surely was not.
"""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.domain.errors import ContractDrift, CrossdockError, NeedsPerson
from crossdock.flows import exceptions
from tests.connectors.test_contract import CONVERSATIONS, OffScriptError, Sample, ScriptedAnswer, ScriptedVendor, good, play, vendor_for
from tests.flows.world import World
from tests.fuzz import hostile
from tests.fuzz.conftest import soaking


class Loaded(Sample):
    """A sample that is read once and not again for every change to it."""

    @cached_property
    def value(self) -> Any:  # type: ignore[override]
        return super().value


SAMPLES = [Loaded(sample.connector, sample.path) for sample in good(CONVERSATIONS)]
CONNECTORS = sorted({sample.connector for sample in SAMPLES})
MOST_CALLS = 2_000
"""More calls than this for one command or question are no end."""
VALUES: tuple[Any, ...] = (None, True, [], {}, [None], 0, -1, 2**63, hostile.Raw("1e999999999"), hostile.Raw("1.5"), "", "x" * 300, "NaN", "9" * 500, "0001-01-01T00:00:00+14:00")
GZIP_BOMB = base64.b64decode("H4sIAAAAAAAC/+3BAQ0AAADCoPdPbQ8HFAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
BODIES = {
    "nothing": b"",
    "a page": b"<html><body>Service <b>temporarily</b> unavailable</body></html>",
    "null": b"null",
    "a list": b"[]",
    "a text": b'"ok"',
    "no unicode": b'{"value": "\xff"}',
    "a mark before it": b"\xef\xbb\xbf",
    "a mark of its own": b"\x00",
    "deep": b"[" * 100_000,
    "packed": GZIP_BOMB,
    "an error that is none": b'{"error": null, "errors": [], "data": null}',
    "an error of another kind": b'{"errors": [{"message": "x", "path": ["y"]}]}',
}


@dataclass(frozen=True)
class Answer:
    """One answer of a recorded conversation."""

    sample: Sample
    statuses: tuple[int, ...]
    position: int
    asked: str
    """What it answers, without the ids in it, and whether something was written before."""
    body: Any
    """None where it answers nothing or no JSON."""

    @property
    def status(self) -> int:
        return self.statuses[self.position]

    def __str__(self) -> str:
        return f"{self.sample}#{self.position}"


def _asked(exchanges: list[dict[str, Any]], position: int) -> str:
    exchange = exchanges[position]
    body = exchange.get("body")
    query = body.get("query", "")[:60] if isinstance(body, dict) else ""
    return f"{exchange['method']} {_IDS.sub('#', exchange['path'])} {query} {any(writes(before) for before in exchanges[:position])}"


def writes(exchange: Mapping[str, Any]) -> bool:
    return bool(exchange.get("writes", exchange["method"] != "GET"))


_IDS = re.compile(r"\?.*|\([^)]*\)|[0-9]+")


@cache
def _answers(name: str) -> tuple[Answer, ...]:
    found = []
    for sample in SAMPLES:
        if sample.connector == name:
            exchanges = sample.value["exchanges"]
            statuses = tuple(exchange["status"] for exchange in exchanges)
            found += [
                Answer(sample, statuses, position, _asked(exchanges, position), exchange.get("answer") if isinstance(exchange.get("answer"), dict | list) else None)
                for position, exchange in enumerate(exchanges)
            ]
    return tuple(found)


def _play(answer: Answer, body: bytes, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> None:
    """Plays the conversation with that one answer changed, and holds the connector to its promises."""
    taken: list[int] = []

    def changed(position: int, writes: bool) -> ScriptedAnswer | None:
        at_it = position == answer.position
        if writes and (status if at_it and status else answer.statuses[position]) < 300:
            taken.append(position)
        return ScriptedAnswer(status or answer.status, headers or {}, body) if at_it else None

    vendor = vendor_for(answer.sample, changed)
    try:
        play(answer.sample, vendor)
    except OffScriptError:
        return  # the answer led it elsewhere: to calls that the sample does not hold
    except NeedsPerson as error:
        if taken and answer.position >= taken[0]:
            raise AssertionError(f"a write was taken, and the outcome is said to be {type(error).__name__} {error.code}: surely not done") from error
    except CrossdockError:
        return


@pytest.mark.parametrize("name", CONNECTORS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_an_answer_of_another_kind_is_a_classified_error_and_no_forgotten_write(name: str, body: bytes) -> None:
    for answer in _answers(name):
        _held(answer, "whole", body)


@pytest.mark.parametrize("name", CONNECTORS)
@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 301, 302, 307, 400, 404, 409, 410, 418])
def test_an_answer_with_another_status_is_a_classified_error_and_no_forgotten_write(name: str, status: int) -> None:
    for answer in _answers(name):
        if status != answer.status:
            for body in (b"", b"{}", hostile.dumps(answer.body)):
                _held(answer, f"{status} {body[:20]!r}", body, status=status, headers={"location": "http://169.254.169.254/latest/meta-data/"})


@pytest.mark.soak
@pytest.mark.parametrize("name", CONNECTORS)
def test_a_field_of_an_answer_that_is_not_what_it_should_be_is_a_classified_error_and_no_forgotten_write(name: str) -> None:
    seen: set[object] = set()
    for answer in _answers(name):
        for path in hostile.paths(answer.body):
            kind = (str(answer), path) if soaking() else (answer.asked, hostile.shape(path))
            if kind not in seen:
                seen.add(kind)
                for what, body in hostile.changes(answer.body, path, values=hostile.VALUES if soaking() else VALUES):
                    _held(answer, f"{hostile.dotted(path)} {what}", body)


@given(data=st.data())
def test_an_answer_cut_off_anywhere_is_a_classified_error_and_no_forgotten_write(data: st.DataObject) -> None:
    answer = data.draw(st.sampled_from([answer for name in CONNECTORS for answer in _answers(name) if answer.body is not None]))
    body = hostile.dumps(answer.body)

    _held(answer, "cut off", body[: data.draw(st.integers(0, len(body) - 1))])


def _held(answer: Answer, what: str, body: bytes, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> None:
    try:
        _play(answer, body, status=status, headers=headers)
    except Exception as error:
        raise AssertionError(f"{answer} {what}: {type(error).__name__}: {error}") from error


# ------------------------------------------------------------------ pages without end
class EndlessError(AssertionError):
    """The connector would go on for ever."""


@dataclass
class Endless(ScriptedVendor):
    """Answers like the sample as long as it goes, then the last page again and again."""

    def send(self, method: str, url: str, **asked: Any) -> ScriptedAnswer:
        if len(self.calls) > MOST_CALLS:
            raise EndlessError(f"{len(self.calls)} calls")
        self.calls.append(bool(asked["writes"]))
        exchange = self.exchanges[min(len(self.calls), len(self.exchanges)) - 1]
        return ScriptedAnswer(exchange["status"], {}, hostile.dumps(exchange.get("answer")))


_MORE = {"hasNextPage": True, "next": "?cursor=again", "@odata.nextLink": "https://vendor.example/again"}
"""How each vendor says that there is more; a list of as many items as asked for says so too."""


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_pages_without_end_come_to_an_end(sample: Sample) -> None:
    exchanges = copy.deepcopy(sample.value["exchanges"])
    for exchange in exchanges:
        answer = exchange.get("answer")
        for path in list(hostile.paths(answer)) if isinstance(answer, dict | list) else []:
            if path[-1] in _MORE:
                exchange["answer"] = answer = hostile.put(answer, path, _MORE[str(path[-1])])
        if isinstance(answer, dict) and isinstance(answer.get("value"), list):
            exchange["answer"] = {**answer, "@odata.nextLink": _MORE["@odata.nextLink"]}
        if isinstance(answer, list) and answer:
            exchange["answer"] = (answer * 250)[:250]
    vendor = Endless(exchanges=exchanges, secrets=[])
    try:
        play(sample, vendor)
    except EndlessError:
        raise
    except CrossdockError:
        pass
    assert len(vendor.calls) <= MOST_CALLS


# ------------------------------------------------------------------ the ledger behind it
@pytest.mark.parametrize("command", ["CreateSalesOrder", "ReleaseFulfillment"])
def test_an_answer_nobody_understands_to_a_write_that_was_done_is_looked_up_before_it_is_written_again(command: str) -> None:
    world = World()
    world.autopilot()
    world.erp.fail(command, ContractDrift("UNEXPECTED_ANSWER", "an answer of another shape"), after_commit=True)
    world.place()
    world.run()
    (record,) = [record for record in world.exceptions.listed() if record.code == "UNEXPECTED_ANSWER"]

    exceptions.retry(record.exception_id, actor="somebody", services=world.services, letters=world.letters)
    world.run()

    assert world.status() == "completed"
    done = [effect for effect in world.effects_done() if effect[0] == command]
    assert len(done) == len(set(done)), "done twice"
    assert world.balance().adds_up
