"""How is one simulator started? `python -m local.simulators CONFIG.json`, one process per tenant and connection."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from local.simulators import exact_json
from local.simulators.server import Config, serve


def main(arguments: list[str]) -> int:
    """Run until ended; 2 for a configuration nobody can use."""
    if len(arguments) != 1:
        print("usage: python -m local.simulators CONFIG.json", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        serve(Config.read(exact_json.loads(Path(arguments[0]).read_bytes())))
    except (OSError, ValueError) as error:
        print(f"simulator not started: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
