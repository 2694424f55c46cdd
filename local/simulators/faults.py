"""What goes wrong on purpose, where, and how often?"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Subject = Literal["api", "webhook"]

_API_KINDS = {"status", "timeout", "drop_after_commit", "duplicate", "delay_s"}
_WEBHOOK_KINDS = {"duplicate", "delay_s", "lose", "reorder"}
_KINDS = _API_KINDS | _WEBHOOK_KINDS
_EXTRAS = {"match", "times", "headers", "body"}
_MATCH_KEYS = {"method", "path", "operation", "topic"}


class BadFault(ValueError):
    """A fault nobody could carry out; the text says what is wrong with it."""


@dataclass
class Fault:
    """One switched-on fault. `times` None means until it is cleared."""

    spec: dict[str, Any]
    times: int | None
    fired: int = 0
    match: str | dict[str, str] = "*"

    @property
    def spent(self) -> bool:
        return self.times is not None and self.fired >= self.times

    @property
    def status(self) -> int | None:
        value = self.spec.get("status")
        return None if value is None else int(value)

    @property
    def timeout_seconds(self) -> float | None:
        value = self.spec.get("timeout")
        if value in (None, False):
            return None
        return 60.0 if value is True else float(value)

    @property
    def drop_after_commit(self) -> bool:
        return bool(self.spec.get("drop_after_commit"))

    @property
    def delay_seconds(self) -> float:
        return float(self.spec.get("delay_s") or 0)

    @property
    def copies(self) -> int:
        """How many times a webhook goes out: `true` means twice."""
        value = self.spec.get("duplicate")
        if value in (None, False):
            return 1
        return 2 if value is True else int(value)

    @property
    def lose(self) -> bool:
        return bool(self.spec.get("lose"))

    @property
    def reorder(self) -> bool:
        return bool(self.spec.get("reorder"))

    def touches(self, subject: Subject) -> bool:
        kinds = _API_KINDS if subject == "api" else _WEBHOOK_KINDS
        return any(self.spec.get(kind) not in (None, False) for kind in kinds)

    def as_json(self) -> dict[str, Any]:
        return {**self.spec, "match": self.match, "times": self.times, "fired": self.fired}


@dataclass
class FaultBoard:
    """All faults that are switched on; the first that matches and is not spent fires."""

    _faults: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, spec: object) -> Fault:
        """Switch a fault on. Raises BadFault."""
        fault = _checked(spec)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> int:
        with self._lock:
            count = len(self._faults)
            self._faults.clear()
        return count

    def as_json(self) -> list[dict[str, Any]]:
        with self._lock:
            return [fault.as_json() for fault in self._faults]

    def for_request(self, method: str, path: str, operations: Sequence[str]) -> Fault | None:
        """The fault for one API request, counted as fired. `operations` are the names the vendor gives the request."""
        return self._fire(
            "api",
            [f"{method} {path}", *operations],
            {"method": [method], "path": [path], "operation": list(operations)},
        )

    def for_webhook(self, topic: str) -> Fault | None:
        """The fault for one webhook, counted as fired."""
        return self._fire("webhook", [f"webhook {topic}"], {"topic": [topic]})

    def _fire(self, subject: Subject, subjects: list[str], fields: dict[str, list[str]]) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if not fault.spent and fault.touches(subject) and _matches(fault.match, subjects, fields):
                    fault.fired += 1
                    return fault
        return None


def _matches(match: str | dict[str, str], subjects: list[str], fields: dict[str, list[str]]) -> bool:
    if isinstance(match, str):
        return match == "*" or any(_fits(match, subject) for subject in subjects)
    return all(any(_fits(wanted, value) for value in fields.get(key, [])) for key, wanted in match.items())


def _fits(wanted: str, text: str) -> bool:
    return wanted == "*" or wanted in text or re.search(wanted, text) is not None


def _checked(spec: object) -> Fault:
    if not isinstance(spec, dict):
        raise BadFault("a fault is a JSON object")
    unknown = sorted(set(spec) - _KINDS - _EXTRAS)
    if unknown:
        raise BadFault(f"unknown keys: {', '.join(unknown)}; known are {', '.join(sorted(_KINDS | _EXTRAS))}")
    if not any(spec.get(kind) not in (None, False) for kind in _KINDS):
        raise BadFault(f"says nothing to do: give one of {', '.join(sorted(_KINDS))}")
    status = spec.get("status")
    if status is not None and (isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599):
        raise BadFault("status is an HTTP status from 100 to 599")
    for key in ("timeout", "delay_s"):
        _check_seconds(key, spec.get(key), allow_true=key == "timeout")
    duplicate = spec.get("duplicate")
    if duplicate is not None and not isinstance(duplicate, bool) and (not isinstance(duplicate, int) or duplicate < 2):
        raise BadFault("duplicate is true (twice) or a number of copies from 2")
    for key in ("drop_after_commit", "lose", "reorder"):
        if spec.get(key) is not None and not isinstance(spec[key], bool):
            raise BadFault(f"{key} is true or false")
    if spec.get("headers") is not None and not isinstance(spec["headers"], dict):
        raise BadFault("headers is an object of header names and values")
    if ("headers" in spec or "body" in spec) and status is None:
        raise BadFault("headers and body only go with status")
    times = spec.get("times", 1)
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 0):
        raise BadFault("times is a number from 1, or null/0 for until it is cleared")
    kinds = {key: spec[key] for key in sorted(_KINDS | {"headers", "body"}) if key in spec}
    return Fault(spec=kinds, times=times or None, match=_checked_match(spec.get("match")))


def _check_seconds(key: str, value: object, *, allow_true: bool) -> None:
    if value is None or (allow_true and isinstance(value, bool)):
        return
    if isinstance(value, bool) or not hasattr(value, "__float__") or not 0 <= float(str(value)) <= 3600:
        raise BadFault(f"{key} is a number of seconds from 0 to 3600" + (", or true for 60" if allow_true else ""))


def _checked_match(match: object) -> str | dict[str, str]:
    if match is None or match == "":
        return "*"
    if isinstance(match, str):
        _check_pattern(match)
        return match
    if not isinstance(match, dict) or not match:
        raise BadFault('match is a string, or an object of "method", "path", "operation", "topic"')
    unknown = sorted(set(match) - _MATCH_KEYS)
    if unknown:
        raise BadFault(f"match knows {', '.join(sorted(_MATCH_KEYS))}, not {', '.join(unknown)}")
    for value in match.values():
        if not isinstance(value, str) or not value:
            raise BadFault("every part of match is a text")
        _check_pattern(value)
    return dict(match)


def _check_pattern(text: str) -> None:
    if text == "*":
        return
    try:
        re.compile(text)
    except re.error as error:
        raise BadFault(f"match {text!r} is no regular expression: {error}") from error
