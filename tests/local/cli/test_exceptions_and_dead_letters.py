"""Can a person put right what went wrong, and is nothing done that they did not mean?"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from crossdock.domain import strict_json
from crossdock.domain.stage import QueueName
from local.cli.exceptions import changed
from local.cli.options import UsageProblem
from tests.flows.world import World, an_order, line, usd
from tests.local.cli.conftest import Crossdock


def unmapped(world: World) -> str:
    """An order with a SKU that nobody knows; the id of its exception."""
    world.place(an_order(1, lines=[line("1", "BOLT-OLD", "3", "10")]))
    world.run()
    return world.the_exception("MISSING_XREF").exception_id


def held(world: World) -> str:
    """An order over the credit limit; the id of its exception."""
    world.erp.accounts["C10010"] = world.erp.accounts["C10010"].model_copy(update={"balance": usd(9_990)})
    world.place()
    world.run()
    return world.the_exception("CREDIT_LIMIT").exception_id


def test_a_corrected_message_is_redriven_once_and_its_order_completes(world: World, crossdock: Crossdock) -> None:
    name = unmapped(world)

    assert crossdock("exceptions", "edit", name, "--set", "facts.0.order.lines.0.sku=BOLT", "--json").document["kept"] is True
    first = crossdock("dlq", "redrive", "inbound", "--match", f"exception_id={name}", "--rate", "100", "--json")
    second = crossdock("dlq", "redrive", "--all", "--rate", "100", "--json")
    world.run()

    assert (first.document["sent"], second.document["sent"]) == (1, 0)
    assert world.status() == "completed"
    assert crossdock("exceptions", "list", "--json").document == []
    assert [record["exception_id"] for record in crossdock("exceptions", "list", "--all", "--json").document] == [name]


def test_a_dry_run_changes_nothing(world: World, crossdock: Crossdock) -> None:
    name = unmapped(world)

    edited = crossdock("exceptions", "edit", name, "--set", "facts.0.order.lines.0.sku=BOLT", "--dry-run", "--json")
    counted = crossdock("dlq", "redrive", "inbound", "--dry-run", "--json")

    assert edited.document == {**edited.document, "ok": True, "kept": False}
    assert (counted.document["matched"], counted.document["sent"]) == (1, 0)
    assert len(world.queues.dead[QueueName.INBOUND]) == 1
    assert world.deliveries.load(next(iter(world.deliveries.every())).delivery_id).revision == 0


def test_a_correction_that_would_fail_again_is_refused_with_its_reason(world: World, crossdock: Crossdock) -> None:
    name = unmapped(world)

    found = crossdock("exceptions", "edit", name, "--set", "facts.0.order.lines.0.sku=STILL-WRONG", "--json")

    assert found.code == 1
    assert found.document["ok"] is False
    assert found.document["code"] == "MISSING_XREF"


def test_what_show_prints_as_payload_can_be_corrected_in_a_file_and_given_back(world: World, crossdock: Crossdock, tmp_path: Path) -> None:
    name = unmapped(world)
    payload = json.dumps(crossdock("exceptions", "show", name, "--json").document["payload"])
    file = tmp_path / "order.json"
    file.write_text(payload.replace("BOLT-OLD", "BOLT"))

    assert crossdock("exceptions", "edit", name, "--file", str(file)).code == 0


def test_the_payload_keeps_the_digits_of_its_numbers(world: World, crossdock: Crossdock) -> None:
    world.post("shop", b'{"at": "2026-10-05T08:00:00+00:00", "rate": 0.10, "facts": []}', topic="orders/teleported")
    world.run()
    name = next(iter(world.exceptions.listed())).exception_id

    assert '"rate":0.10' in crossdock("exceptions", "show", name, "--json").out


def test_an_approved_hold_completes_and_the_reason_is_on_record(world: World, crossdock: Crossdock) -> None:
    name = held(world)

    found = crossdock("exceptions", "resolve", name, "--decision", "approve", "--note", "paid by wire", "--json")
    world.run()

    assert found.code == 0
    assert world.status() == "completed"
    history = crossdock("exceptions", "show", name, "--json").document["history"]
    assert any("paid by wire" in entry["note"] and entry["actor"].startswith("operator:") for entry in history)


def test_a_decision_without_a_reason_or_of_the_wrong_kind_is_a_usage_error(world: World, crossdock: Crossdock) -> None:
    name = held(world)

    without = crossdock("exceptions", "resolve", name, "--decision", "approve", "--json")
    wrong = crossdock("exceptions", "resolve", name, "--decision", "discard", "--note", "x")

    assert (without.code, wrong.code) == (2, 2)
    assert without.document["error"]["code"] == "NOTE_MISSING"
    assert world.status() == "held"


def test_an_exception_is_assigned_by_the_beginning_of_its_id(world: World, crossdock: Crossdock) -> None:
    name = held(world)

    assert crossdock("exceptions", "assign", name[:18], "--to", "jo").code == 0
    assert crossdock("exceptions", "list", "--match", "assigned_to=jo", "--json").document[0]["status"] == "acknowledged"


def test_retry_runs_the_checks_again_and_says_of_each_id_what_became_of_it(world: World, crossdock: Crossdock) -> None:
    name = held(world)
    world.erp.accounts["C10010"] = world.erp.accounts["C10010"].model_copy(update={"balance": usd(0)})

    found = crossdock("exceptions", "retry", name, "no-such-exception", "--json")
    world.run()

    assert found.code == 1
    assert [line["ok"] for line in found.document] == [True, False]
    assert world.status() == "completed"


def test_an_unknown_filter_field_is_a_usage_error_that_names_the_known_ones(world: World, crossdock: Crossdock) -> None:
    unmapped(world)

    found = crossdock("exceptions", "list", "--match", "colour=red")

    assert found.code == 2
    assert "fingerprint" in found.said


def test_the_dead_letters_are_listed_with_their_classes_and_looked_at_without_being_moved(world: World, crossdock: Crossdock) -> None:
    unmapped(world)

    listed = {line["queue"]: line for line in crossdock("dlq", "list", "--json").document}
    looked = crossdock("dlq", "peek", "inbound", "--match", "code=MISSING_XREF", "--json").document

    assert listed["inbound"] == {"queue": "inbound", "messages": 1, "codes": {"MISSING_XREF": 1}}
    assert looked[0]["exception_id"] == world.the_exception("MISSING_XREF").exception_id
    assert len(world.queues.dead[QueueName.INBOUND]) == 1
    assert crossdock("dlq", "redrive").code == 2
    assert crossdock("dlq", "redrive", "inbound", "--all").code == 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("line_items.1.sku=AC-2", '{"line_items":[{"sku":"A","quantity":2},{"sku":"AC-2","quantity":1.50}],"note":null}'),
        ("line_items.0.sku=7", '{"line_items":[{"sku":"7","quantity":2},{"sku":"B","quantity":1.50}],"note":null}'),
        ("line_items.0.quantity=3", '{"line_items":[{"sku":"A","quantity":3},{"sku":"B","quantity":1.50}],"note":null}'),
        ("note=a new = sign", '{"line_items":[{"sku":"A","quantity":2},{"sku":"B","quantity":1.50}],"note":"a new = sign"}'),
        ("extra=true", '{"line_items":[{"sku":"A","quantity":2},{"sku":"B","quantity":1.50}],"note":null,"extra":true}'),
    ],
)
def test_a_single_field_is_changed_and_everything_else_keeps_its_digits(change: str, expected: str) -> None:
    body = b'{"line_items":[{"sku":"A","quantity":2},{"sku":"B","quantity":1.50}],"note":null}'

    assert changed(body, [change]).decode() == expected


@pytest.mark.parametrize("change", ["line_items.5.sku=X", "nowhere.sku=X", "line_items.0.sku.deeper=X", "no-sign", "=value"])
def test_a_change_of_what_is_not_there_is_refused(change: str) -> None:
    with pytest.raises(UsageProblem):
        changed(b'{"line_items":[{"sku":"A"}]}', [change])


def test_a_changed_document_is_still_strict_json() -> None:
    assert strict_json.loads(changed(b'{"price": 0.10}', ["price=0.20"])) == {"price": Decimal("0.20")}
