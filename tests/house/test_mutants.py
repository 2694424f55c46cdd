"""Does every checked-in sabotage still fit the code? `make mutants` then says whether the tests notice it."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.mutants import run
from tests.mutants.run import ROOT, Mutant, read

MUTANTS = read()


def test_there_are_sabotages_of_many_promises() -> None:
    assert len(MUTANTS) >= 60
    assert not [promise for promise, times in Counter(mutant.promise for mutant in MUTANTS).items() if times > 1], "one promise, one sabotage: say what differs"
    assert len({mutant.file for mutant in MUTANTS}) >= 20


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.promise)
def test_the_sabotage_fits_exactly_one_place(mutant: Mutant) -> None:
    assert not mutant.problem(ROOT), f"{mutant.problem(ROOT)}: write the mutation of {mutant.promise!r} anew in tests/mutants/mutants.yaml, it must break that promise"
    changed = (ROOT / mutant.file).read_text(encoding="utf-8").replace(mutant.old, mutant.new)
    ast.parse(changed)  # a syntax error would be noticed by any test, and prove nothing


def test_a_selection_that_fits_nothing_is_refused_and_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "pytest", lambda *given, **more: pytest.fail("this would run every test there is"))
    monkeypatch.setattr(run, "Copies", lambda folder, number: None)
    assert run.main(["--only", "nothing is called this"]) == 1
