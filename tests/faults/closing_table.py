"""What was survived? Kept while the faults run, printed at the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.invariants.invariants import INVARIANTS, Verdict, title

FAULTS = 23


@dataclass
class Met:
    """One test of a fault."""

    number: int
    name: str
    test: str
    done: str = ""
    failed: str = ""
    seconds: float = 0.0


@dataclass
class ClosingTable:
    met: dict[str, Met] = field(default_factory=dict)
    """By test."""
    held: Counter[str] = field(default_factory=Counter)
    violated: Counter[str] = field(default_factory=Counter)
    looked_at: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def judged(self, test: str, verdicts: dict[str, Verdict]) -> None:
        for name, verdict in verdicts.items():
            self.looked_at[name] += verdict.looked_at
            if verdict.violations:
                self.violated[name] += 1
                self.violations += [f"{name} after {test}: {violation}" for violation in verdict.violations]
            elif verdict.looked_at:
                self.held[name] += 1

    def survived(self) -> set[int]:
        numbers = {met.number for met in self.met.values()}
        return numbers - {met.number for met in self.met.values() if met.failed}

    def kept(self) -> set[str]:
        return {name for name in INVARIANTS if self.held[name] and not self.violated[name]}

    def lines(self) -> list[str]:
        written = [f"{'#':>2}  {'fault':<46} {'what was done':<78} {'result':<9} {'seconds':>7}"]
        written += [
            f"{met.number:>2}  {met.name[:46]:<46} {met.done[:78]:<78} {met.failed or 'survived':<9} {met.seconds:>7.1f}"
            for met in sorted(self.met.values(), key=lambda met: (met.number, met.test))
        ]
        written += ["", f"{'':3} {'invariant':<88} {'held':>5} {'violated':>9} {'looked at':>10}"]
        written += [f"{name:<3} {title(name)[:88]:<88} {self.held[name]:>5} {self.violated[name]:>9} {self.looked_at[name]:>10}" for name in INVARIANTS]
        written += [f"VIOLATED {violation}" for violation in self.violations]
        written += ["", f"faults survived {len(self.survived())}/{FAULTS}, invariants {len(self.kept())}/{len(INVARIANTS)}"]
        return written
