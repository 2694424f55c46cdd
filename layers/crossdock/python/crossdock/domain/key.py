"""How does a text become part of a key?"""

from __future__ import annotations

import re

_KEY = re.compile(r"[^A-Za-z0-9_-]+")


def key_part(text: str) -> str:
    """The text reduced to what an execution name, a queue attribute and a file name all allow."""
    return _KEY.sub("-", text).strip("-")
