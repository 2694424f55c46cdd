"""How do records lie in the state table: keys, packed documents, listings, and writes that lose no race?"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from crossdock.aws.failure import condition_failed, response_of
from crossdock.domain.errors import RetryLater

if TYPE_CHECKING:
    from crossdock.aws.clients import ServiceClients

Item = dict[str, Any]
"""A DynamoDB item in its wire form ({"S": ...})."""

LISTING_INDEX = "listing"
TRIES = 12


def text(value: str) -> dict[str, str]:
    return {"S": value}


def number(value: object) -> dict[str, str]:
    return {"N": str(value)}


def packed(document: str) -> dict[str, bytes]:
    """Documents are stored compressed: a write is billed per kilobyte."""
    return {"B": zlib.compress(document.encode(), 6)}


def unpacked(value: dict[str, Any]) -> str:
    return zlib.decompress(bytes(value["B"])).decode()


def stamp(moment: datetime) -> str:
    """A time of fixed width, so that text order is time order."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(value: str) -> datetime:
    return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


class StateTable:
    """The tenant's state table: one partition per thing, one sparse index ``listing`` (keys only) for what must be found by kind."""

    def __init__(self, clients: ServiceClients, name: str) -> None:
        self.clients = clients
        self.name = name

    @property
    def client(self) -> Any:
        return self.clients.dynamodb

    def get(self, pk: str, sk: str, *, consistent: bool = True) -> Item | None:
        found = self.client.get_item(TableName=self.name, Key={"pk": text(pk), "sk": text(sk)}, ConsistentRead=consistent)
        item: Item | None = found.get("Item")
        return item

    def put_new(self, item: Item) -> Item | None:
        """None when written; the standing item when the key is taken. One conditional write either way."""
        try:
            self.client.put_item(TableName=self.name, Item=item, ConditionExpression="attribute_not_exists(pk)", ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except Exception as error:
            if not condition_failed(error):
                raise
            standing: Item | None = response_of(error).get("Item")
            return standing or self.get(item["pk"]["S"], item["sk"]["S"]) or {}
        return None

    def put_version(self, item: Item, expected: int) -> bool:
        """False when somebody else has written since ``expected`` was read."""
        try:
            self.client.put_item(
                TableName=self.name,
                Item=item,
                ConditionExpression="#v = :v",
                ExpressionAttributeNames={"#v": "version"},
                ExpressionAttributeValues={":v": number(expected)},
            )
        except Exception as error:
            if condition_failed(error):
                return False
            raise
        return True

    def partition(self, pk: str) -> list[Item]:
        """Everything that stands under one key, read consistently."""
        pages = self.client.get_paginator("query").paginate(
            TableName=self.name, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": text(pk)}, ConsistentRead=True
        )
        return [item for page in pages for item in page["Items"]]

    def delete(self, pk: str, sk: str) -> None:
        self.client.delete_item(TableName=self.name, Key={"pk": text(pk), "sk": text(sk)})

    def listed(self, listing: str, *, up_to: str | None = None, limit: int | None = None, newest_first: bool = False) -> Iterator[Item]:
        """The whole items of a listing in the order of their sort value (eventually consistent)."""
        # By key: what moves within its listing between two pages comes twice, and a batch may not name an item twice.
        keys: dict[tuple[str, str], Item] = {}
        for key in self._keys(listing, up_to=up_to, limit=limit, newest_first=newest_first):
            keys[key["pk"]["S"], key["sk"]["S"]] = key
            if len(keys) == 100:
                yield from self._batch(list(keys.values()))
                keys = {}
        if keys:
            yield from self._batch(list(keys.values()))

    def _keys(self, listing: str, *, up_to: str | None, limit: int | None, newest_first: bool) -> Iterator[Item]:
        arguments: dict[str, Any] = {
            "TableName": self.name,
            "IndexName": LISTING_INDEX,
            "KeyConditionExpression": "#l = :l" + (" AND #s <= :s" if up_to else ""),
            "ExpressionAttributeNames": {"#l": "listing", **({"#s": "sort"} if up_to else {})},
            "ExpressionAttributeValues": {":l": text(listing), **({":s": text(up_to)} if up_to else {})},
            "ScanIndexForward": not newest_first,
        }
        left = limit
        while True:
            if left is not None:
                arguments["Limit"] = min(left, 500)
            page = self.client.query(**arguments)
            for item in page["Items"]:
                yield {"pk": item["pk"], "sk": item["sk"]}
            if left is not None:
                left -= len(page["Items"])
            if "LastEvaluatedKey" not in page or (left is not None and left <= 0):
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _batch(self, keys: Sequence[Item]) -> Iterator[Item]:
        wanted = [(key["pk"]["S"], key["sk"]["S"]) for key in keys]
        found: dict[tuple[str, str], Item] = {}
        pending = {self.name: {"Keys": list(keys), "ConsistentRead": True}}
        for attempt in range(TRIES):
            answer = self.client.batch_get_item(RequestItems=pending)
            for item in answer["Responses"].get(self.name, []):
                found[item["pk"]["S"], item["sk"]["S"]] = item
            pending = answer.get("UnprocessedKeys") or {}
            if not pending:
                break
            time.sleep(random.uniform(0, min(0.5, 0.01 * 2**attempt)))  # noqa: S311 - jitter
        else:
            raise RetryLater("STORE_BUSY", "the state table did not answer all reads")
        yield from (found[key] for key in wanted if key in found)
