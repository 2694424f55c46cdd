"""Every minute: deadlines, forgotten deliveries, polls and counts that are due."""

from __future__ import annotations

from dataclasses import asdict

from crossdock import edge
from crossdock.flows.watch import watch

handler = edge.function_handler(lambda event, services: {"outcome": "watched", **asdict(watch(services))})
