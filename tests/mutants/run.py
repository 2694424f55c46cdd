"""Would anybody notice? Applies each checked-in sabotage to a copy of the tree and runs the tests that are expected to fail with it.

    python -m tests.mutants.run [--only TEXT] [--jobs N] [--json FILE] [--without-baseline]

Exit 1 when a sabotage survives or no longer fits the code.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).resolve().parent / "mutants.yaml"
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "node_modules", "build", "cdk.out", ".crossdock", "__pycache__", ".*_cache", ".hypothesis")
LONGEST_SECONDS = 300
"""What runs longer with a sabotage never ends: noticed too."""
BASELINE_SECONDS = 1800


@dataclass(frozen=True)
class Mutant:
    about: str
    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def problem(self, root: Path) -> str:
        """Why it cannot be applied to the tree; empty when it can."""
        path = root / self.file
        if not path.is_file():
            return f"{self.file} is not there"
        times = path.read_text(encoding="utf-8").count(self.old)
        if times != 1:
            return f"its text stands {times} times in {self.file}"
        missing = [test for test in self.tests if not (root / test.partition("::")[0]).exists()]
        return f"no test {', '.join(missing)}" if missing else ""


def read(path: Path = LIST) -> list[Mutant]:
    """The list; raises TypeError for an entry that lacks something or has too much."""
    parts = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [Mutant(about, **{**entry, "tests": tuple(entry["tests"])}) for about, entries in parts.items() for entry in entries]


@dataclass(frozen=True)
class Outcome:
    """``killed`` (and by which test), ``survived``, ``could not apply``, or ``broken`` when the tests could not be run at all."""

    about: str
    promise: str
    file: str
    result: str
    by: str
    seconds: float


class Copies:
    """As many copies of the tree as there are workers; each is used by one of them at a time."""

    def __init__(self, folder: Path, number: int) -> None:
        self._free: queue.Queue[Path] = queue.Queue()
        for position in range(number):
            copy = folder / f"tree-{position}"
            shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
            for name in (".venv", "node_modules"):  # what takes long to make is shared, and only read
                if (ROOT / name).exists():
                    (copy / name).symlink_to(ROOT / name)
            self._free.put(copy)

    def run(self, mutant: Mutant) -> Outcome:
        tree, started = self._free.get(), time.monotonic()
        path = tree / mutant.file
        problem = mutant.problem(tree)
        if problem:
            self._free.put(tree)
            return Outcome(mutant.about, mutant.promise, mutant.file, "could not apply", problem, 0.0)
        whole = path.read_text(encoding="utf-8")
        path.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
        try:
            code, said = pytest(tree, mutant.tests)
        finally:
            path.write_text(whole, encoding="utf-8")
            self._free.put(tree)
        result = {0: "survived", 1: "killed"}.get(code, "broken")
        # An error in a fixture counts: what may not be deployed is refused while the stack is made, before any test looks at it.
        first = next((line.partition(" ")[2].partition(" - ")[0] for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))), "")
        by = first if result == "killed" else said[-400:] if result == "broken" else ""
        return Outcome(mutant.about, mutant.promise, mutant.file, result, by, round(time.monotonic() - started, 1))


def pytest(tree: Path, tests: Sequence[str], *, longest: int = LONGEST_SECONDS, workers: int = 0) -> tuple[int, str]:
    """Runs the tests in that tree; the tree's own code comes before the installed one."""
    environment = {**os.environ, "PYTHONPATH": f"{tree / 'layers' / 'crossdock' / 'python'}{os.pathsep}{tree}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", str(workers), "-p", "no:cacheprovider", "--no-header", "--tb=no", *tests]
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=longest, check=False)
    except subprocess.TimeoutExpired:
        return 1, f"FAILED {tests[0]} (it never ends)"
    return done.returncode, done.stdout + done.stderr


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose promise or file contains this, or that stand under it")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the outcomes there")
    parser.add_argument("--without-baseline", action="store_true", help="do not check first that the tests pass unchanged")
    wanted = parser.parse_args(arguments)
    mutants = [mutant for mutant in read() if wanted.only in mutant.promise or wanted.only in mutant.file or wanted.only == mutant.about]
    if not mutants:  # pytest takes no names to mean every test there is
        print(f"no mutant's promise or file contains {wanted.only!r}")
        return 1
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crossdock-mutants-") as folder:
        copies = Copies(Path(folder), wanted.jobs)
        if not wanted.without_baseline and not _passes_unchanged(Path(folder) / "tree-0", mutants, wanted.jobs):
            return 1
        outcomes = _all(copies, mutants, wanted.jobs)
    counts = Counter(outcome.result for outcome in outcomes)
    print(_table(outcomes))
    for outcome in outcomes:
        if outcome.result != "killed":
            print(f"{outcome.result.upper()}: {outcome.promise}\n    {outcome.file} {outcome.by}")
    print(f"{len(outcomes)} mutants in {time.monotonic() - started:.0f} s: " + ", ".join(f"{number} {result}" for result, number in counts.most_common()))
    if wanted.json:
        wanted.json.parent.mkdir(parents=True, exist_ok=True)
        wanted.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    return 0 if outcomes and set(counts) == {"killed"} else 1


def _passes_unchanged(tree: Path, mutants: Sequence[Mutant], jobs: int) -> bool:
    """A test that fails anyway would kill everything."""
    code, said = pytest(tree, sorted({test for mutant in mutants for test in mutant.tests}), longest=BASELINE_SECONDS, workers=jobs)
    if code:
        print(f"the tests do not pass without any sabotage:\n{said[-3000:]}")
    return code == 0


def _table(outcomes: Sequence[Outcome]) -> str:
    mutations, killed = Counter(outcome.about for outcome in outcomes), Counter(outcome.about for outcome in outcomes if outcome.result == "killed")
    rows = [("promises of", "mutations", "killed"), *((about, number, killed[about]) for about, number in mutations.items()), ("all", len(outcomes), killed.total())]
    return "\n" + "\n".join(f"{about:40}{number:>10}{noticed:>8}" for about, number, noticed in rows) + "\n"


def _all(copies: Copies, mutants: Sequence[Mutant], jobs: int) -> list[Outcome]:
    done, lock = 0, threading.Lock()

    def one(mutant: Mutant) -> Outcome:
        nonlocal done
        outcome = copies.run(mutant)
        with lock:
            done += 1
            by = f"  <- {outcome.by}" if outcome.result == "killed" else ""
            print(f"[{done}/{len(mutants)}] {outcome.result:15} {outcome.seconds:5.1f} s  {outcome.promise}{by}", flush=True)
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, mutants))


if __name__ == "__main__":
    sys.exit(main())
