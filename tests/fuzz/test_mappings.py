"""What does every connector make of a body that is not as it should be? It finds the connectors by walking their folders, and starts from their samples.

The property: canonical facts that are exact and nowhere negative, or a classified error that names the field; nothing else, and soon.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, Inexact, localcontext
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdock.domain.connector import Connector, Occurrence, Translation
from crossdock.domain.delivery import Delivery
from crossdock.domain.errors import CrossdockError
from crossdock.domain.events import FACT, OrderPlaced, OrderUpdated, ShipmentDispatched
from tests.connectors.test_contract import INBOUND, NOW, NoWayOut, Sample, connector_for, good
from tests.fuzz import hostile
from tests.fuzz.conftest import soaking

SAMPLES = good(INBOUND)
BODIES = {str(sample): (sample.topic or "", sample.value) for sample in SAMPLES}
CONNECTORS = sorted({sample.connector for sample in SAMPLES})
SHARES = 4
"""Into so many tests a connector's places are dealt out, for the workers to share."""
ROUNDED_ON_PURPOSE = {"taxes_included"}
"""A price that includes tax is made net to the hundredth of a cent, with the difference in the discount: the only rounding there is."""


@cache
def connector(name: str) -> Connector:
    return connector_for(name, NoWayOut())


def translation(name: str, topic: str, body: bytes, *, exact: bool = True) -> Translation:
    """What the body means. With ``exact``, an amount that is rounded on the way is a failure, not a rounding."""
    with localcontext() as context:
        context.traps[Inexact] = exact
        return connector(name).translate(Delivery(delivery_id="d-1", connection="sample", topic=topic, body=body, received_at=NOW))


def claims(found: Translation) -> None:
    """Everything that holds of whatever a mapping answers."""
    for occurrence in found.occurrences:
        document = occurrence.fact.as_json()
        assert FACT.validate_json(occurrence.fact.model_dump_json(by_alias=True, exclude_none=True)).as_json() == document, "a fact must survive its own JSON"
        assert occurrence.occurred_at.tzinfo is not None
        for path in hostile.paths(document):
            value = hostile.at(document, path)
            assert not isinstance(value, float), f"{hostile.dotted(path)} is a binary float"
            if path[-1] in ("amount", "value", "quantity", "on_hand") and isinstance(value, str):
                assert Decimal(value) >= 0, f"{hostile.dotted(path)} is {value}"
                assert path[-1] in ("amount", "on_hand") or Decimal(value) > 0, f"{hostile.dotted(path)} is nothing"
        if isinstance(occurrence.fact, OrderPlaced | OrderUpdated):
            order = occurrence.fact.order
            assert all(line.net.amount >= 0 for line in order.lines), "a line is worth less than nothing"
            assert order.computed_total.amount >= 0
    assert found.occurrences or found.ignored is None or found.ignored, "ignored without a reason"


def named(error: CrossdockError, path: hostile.Path) -> bool:
    """Whether the error tells somebody where to look: the place itself, what holds it, or (for what contradicts each other) its neighbour."""
    wanted, parent = hostile.dotted(path), hostile.dotted(path[:-1])
    told = [problem.path for problem in error.fields]
    return any(place == "(body)" or place == wanted or place.startswith(f"{wanted}.") or wanted.startswith(f"{place}.") or place.rpartition(".")[0] == parent for place in told)


# ------------------------------------------------------------------ one place at a time
@dataclass(frozen=True)
class Place:
    sample: Sample
    topic: str
    value: Any
    path: hostile.Path

    def __str__(self) -> str:
        return f"{self.sample}:{hostile.dotted(self.path)}"


def _meant(name: str, topic: str, body: bytes) -> str:
    try:
        return repr(translation(name, topic, body, exact=False))
    except CrossdockError as error:
        return error.code


@cache
def _places(name: str) -> tuple[Place, ...]:
    """Every place that the mapping looks at: where not every value means the same. In the quick run each kind of place once per connector,
    in the long one in every sample."""
    seen: set[object] = set()
    found = []
    for sample in (sample for sample in SAMPLES if sample.connector == name):
        value, topic = sample.value, sample.topic or ""
        right = _meant(name, topic, sample.raw)
        for path in hostile.paths(value):
            kind = (str(sample), path) if soaking() else hostile.shape(path)
            if {kind, (topic, kind)} & seen:
                continue
            counts = any(_meant(name, topic, hostile.dumps(hostile.put(value, path, probe))) != right for probe in ({"__wrong__": [1]}, "__wrong__"))
            seen.add(kind if counts else (topic, kind))
            found += [Place(sample, topic, value, path)] if counts else []
    return tuple(found)


def test_the_places_that_count_are_found_in_every_connector() -> None:
    kinds = {(name, hostile.shape(place.path)) for name in CONNECTORS for place in _places(name)}

    assert {
        ("shopify", ("line_items", "*", "quantity")),
        ("shopify", ("shipping_address", "country_code")),
        ("shipbob", ("products", "*", "inventory_items", "*", "quantity")),
        ("business_central", ("salesShipment", "salesShipmentLines", "*", "quantity")),
        ("direct", ("lines", "*", "unit_price")),
    } <= kinds


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("name", CONNECTORS)
def test_one_field_that_is_not_what_it_should_be_is_mapped_exactly_or_refused_by_its_path(name: str, share: int) -> None:
    for place in _places(name)[share::SHARES]:
        exact = "taxes_included" not in str(place.sample) and place.path[-1] not in ROUNDED_ON_PURPOSE
        for what, body in hostile.changes(place.value, place.path):
            try:
                found = translation(name, place.topic, body, exact=exact)
            except CrossdockError as refused:
                if not named(refused, place.path):
                    raise AssertionError(f"{place} {what}: {refused} names only {[problem.path for problem in refused.fields]}") from refused
            except Exception as error:
                raise AssertionError(f"{place} {what}: {type(error).__name__} is no classified error") from error
            else:
                claims(found)


@pytest.mark.parametrize(("wrong", "told"), [({"quantity": "-2"}, "quantity is -2"), ({"quantity": "0"}, "is nothing")], ids=["negative", "nothing"])
def test_a_quantity_that_nobody_can_ship_would_be_noticed(wrong: dict[str, str], told: str) -> None:
    sample = next(sample for sample in SAMPLES if str(sample) == "shipbob/order.shipped")
    right = translation("shipbob", "order.shipped", sample.raw)
    fact = right.occurrences[0].fact
    assert isinstance(fact, ShipmentDispatched)
    line = fact.shipment.lines[0].model_copy(update={"quantity": Decimal(wrong["quantity"])})
    made = fact.model_copy(update={"shipment": fact.shipment.model_copy(update={"lines": (line,)})})

    with pytest.raises(AssertionError, match=told):
        claims(Translation((Occurrence(made, right.occurrences[0].occurred_at),)))


# ------------------------------------------------------------------ many at once, and bytes
_TEXT = st.text(max_size=40) | st.sampled_from(hostile.TEXTS)
_LEAF = st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=3) | _TEXT | st.sampled_from(hostile.VALUES)
_JSON = st.recursive(_LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=6)


@st.composite
def _mutated(draw: st.DrawFn) -> tuple[Sample, bytes]:
    sample = draw(st.sampled_from(SAMPLES))
    document: Any = BODIES[str(sample)][1]
    for _ in range(draw(st.integers(1, 4))):
        places = list(hostile.paths(document))
        if not places:
            break
        path = draw(st.sampled_from(places))
        document = draw(st.sampled_from([hostile.without(document, path), hostile.put(document, path, draw(_JSON))]))
    return sample, hostile.dumps(document)


def _is_mapped_or_refused(sample: Sample, body: bytes) -> None:
    try:
        found = translation(sample.connector, BODIES[str(sample)][0], body, exact=False)
    except CrossdockError as refused:
        if not refused.fields:
            raise AssertionError(f"{refused} names no field") from refused
    else:
        claims(found)


@settings(max_examples=settings().max_examples * 3)
@given(mutated=_mutated())
def test_several_fields_that_are_not_what_they_should_be_are_mapped_or_refused(mutated: tuple[Sample, bytes]) -> None:
    _is_mapped_or_refused(*mutated)


@given(sample=st.sampled_from(SAMPLES), data=st.data())
def test_a_body_cut_off_or_with_bytes_turned_over_is_mapped_or_refused(sample: Sample, data: st.DataObject) -> None:
    raw = sample.raw
    cut = data.draw(st.integers(0, len(raw) - 1))
    place = data.draw(st.integers(0, len(raw) - 1))
    turned = bytes([raw[place] ^ data.draw(st.integers(1, 255))])

    _is_mapped_or_refused(sample, raw[:cut])
    _is_mapped_or_refused(sample, raw[:place] + turned + raw[place + 1 :])
