"""Would the scan for secrets in logs notice one? And can text of somebody else's forge a log line?"""

from __future__ import annotations

import base64
import io
import json
import logging

import pytest

from crossdock import observability
from crossdock.domain.errors import Rejected
from tests.fuzz import hostile
from tests.scenarios.leaks import leaks

SECRET = 's3cr3t/with+signs=and "quotes"'


@pytest.mark.parametrize(
    "line",
    [
        f"token {SECRET}",
        json.dumps({"token": SECRET}),
        "GET /?token=s3cr3t%2Fwith%2Bsigns%3Dand%20%22quotes%22",
        base64.b64encode(SECRET.encode()).decode(),
        f"TOKEN {SECRET.upper()}",
    ],
    ids=["plain", "json", "address", "base64", "upper case"],
)
def test_a_planted_secret_is_found_whatever_its_spelling_and_is_not_repeated(line: str) -> None:
    found = leaks([("log group a", "all is well"), ("log group b", line)], {"the token": SECRET})

    assert found == ["log group b: the token"]


def test_a_log_without_it_is_clean() -> None:
    assert leaks([("log group a", "s3cr3t is a word"), ("log group b", "")], {"the token": SECRET}) == []


@pytest.mark.parametrize("text", [*hostile.TERMINAL, *hostile.FORMULAS, '{"level":"ERROR"}\n{"level":"ERROR"}', "\u2028\u2029\x85", "\x00"])
def test_text_of_somebody_elses_forges_no_log_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    stream = next(each for each in observability.logger.handlers if isinstance(each, logging.StreamHandler))
    monkeypatch.setattr(stream, "stream", log)

    observability.logger.info("message done", subject=text, connection=text)
    observability.log_failure("message failed", Rejected("INVALID_BODY", text), subject=text)

    lines = log.getvalue().split("\n")
    assert lines.pop() == "" and len(lines) == 2
    assert [json.loads(line)["subject"] for line in lines] == [text, text]
    assert all(char.isprintable() and char.isascii() for line in lines for char in line), "nothing in it acts on a terminal"
