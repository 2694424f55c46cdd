"""Which queues does a message pass?"""

from __future__ import annotations

from enum import StrEnum


class QueueName(StrEnum):
    INBOUND = "inbound"
    WORK = "work"
    OUTBOUND = "outbound"
