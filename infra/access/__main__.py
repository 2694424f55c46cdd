"""``python -m infra.access [FOLDER]``: the verdict over the templates that were synthesised into FOLDER (``cdk.out``), as a table; exit 1 on a problem.

With ``--roads`` also every call of every function, and the road in its code that leads to it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from infra.access import check
from infra.access.calls import Code

_ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    places = [argument for argument in arguments if not argument.startswith("--")]
    folder = Path(places[0] if places else _ROOT / "cdk.out")
    templates = {file.name.removesuffix(".template.json"): json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.template.json"))}
    if not templates:
        sys.stderr.write(f"{folder} holds no template: synthesise first (`npx cdk synth`)\n")
        return 1
    code = Code(_ROOT)
    roads = {function: code.calls(function) for function in code.functions}
    if "--roads" in arguments:
        for function, calls in roads.items():
            sys.stdout.write("".join(f"{function}\t{call.action}\t{call.setting}\t{road}\n" for call, road in calls.items()))
    problems, table = check.all_of(templates, roads)
    sys.stdout.write("\n".join([*table, *problems]) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
