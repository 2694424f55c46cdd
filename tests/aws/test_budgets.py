"""Does a mark move once for those who move it together?"""

from __future__ import annotations

from crossdock.aws.budgets import DynamoBudgets
from crossdock.aws.table import StateTable
from tests.aws.account import Account, OneAtATime, at_once


def test_a_mark_moves_for_whoever_has_seen_where_it_stands(table: StateTable) -> None:
    marks = DynamoBudgets(table)
    assert marks.advance("erp", seen=None, to=110, now=100) is None, "there was none"
    assert marks.advance("erp", seen=None, to=120, now=105) == 110, "it stands ahead of now: whoever thought it idle is told where"
    assert marks.advance("erp", seen=109, to=120, now=105) == 110
    assert marks.advance("erp", seen=110, to=120, now=105) is None
    assert marks.advance("erp", seen=None, to=300, now=200) is None, "idle again: moved without having seen it"
    assert marks.advance("shop", seen=None, to=5, now=1) is None, "each connection has its own"


def test_of_eight_at_once_one_moves_it(account: Account) -> None:
    marks = DynamoBudgets(StateTable(OneAtATime(account.clients), "state"))
    answers = at_once(8, lambda number: marks.advance("erp", seen=None, to=1000 + number, now=100))
    assert answers.count(None) == 1
    assert len({answer for answer in answers if answer is not None}) == 1
