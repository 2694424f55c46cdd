"""Does text of somebody else's stay text where a person or a program reads it: on the terminal, and in the JSON of the command line?"""

from __future__ import annotations

import json
import unicodedata
from decimal import Decimal

import pytest

from crossdock.domain.errors import Rejected
from local.cli import app
from local.cli.rendering import Screen, dumps
from local.simulators import exact_json
from tests.fuzz import hostile

TEXTS = (*hostile.TERMINAL, *hostile.FORMULAS, "\u202egnp.exe", "\u2066x\u2069", "\x00", "\ud800", "[bold]x[/bold] [link=https://evil.example]y[/link]", "back\\", "a\u2028b")


def _acts(text: str) -> set[str]:
    return {char for char in text if char not in "\n\t" and (unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068")}


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_in_a_vendors_text_acts_on_the_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False)
    screen.say(text)
    screen.write(text)
    screen.table(text, ["note"], [[text]])
    screen.facts("", {"note": text})
    app._tell("INVALID_BODY", text, text, [text], as_json=False, status=1)

    seen = capsys.readouterr()
    assert not _acts(seen.out + seen.err), _acts(seen.out + seen.err)
    for word in ("[red]", "[bold]", "=1+1", "@SUM"):
        assert (word in text) <= (word in seen.out), f"{word} was taken for markup"


@pytest.mark.parametrize("text", TEXTS)
def test_the_json_of_the_command_line_holds_the_text_and_nothing_that_acts(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Screen(as_json=True).show({"note": text}, lambda: None)
    shown = capsys.readouterr().out
    app._tell("INVALID_BODY", text, as_json=True, status=1)
    told = capsys.readouterr().out

    assert json.loads(shown) == {"note": text} and json.loads(told)["error"]["detail"] == text
    assert not _acts(shown + told)


@pytest.mark.parametrize("text", ["\ue0f1null\ue0f2", "\ue0f1[1,2]\ue0f2", "\ue0f15\ue0f2", '","x":"y'])
def test_a_text_that_looks_like_a_number_of_ours_stays_a_text(text: str) -> None:
    assert json.loads(dumps({"note": text, "n": 1})) == {"note": text, "n": 1}
    assert exact_json.loads(exact_json.dumps({"note": text, "amount": Decimal("1.10")})) == {"note": text, "amount": Decimal("1.10")}


def test_what_the_command_line_says_of_an_error_is_harmless_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert app._explain(Rejected("VENDOR_REFUSED", "\x1b[2Jgone"), as_json=False) == 1

    assert "\x1b" not in capsys.readouterr().err
