"""What does the app synthesise for a tenant on AWS? Without an account and without the layer of third-party packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from local.engine import toolchain

# Stack names as infra gives them; infra.tenant_stack itself is not imported: it brings CDK and a Node process with it.
_TEMPLATE = "crossdock-{}.template.json"


def synthesised(root: Path, tenant: str) -> dict[str, Any]:
    """The tenant's CloudFormation template for AWS. Raises SynthesisFailed with what the app said."""
    folder = root / "build" / "bench" / "cdk.out"
    context = {**json.loads((root / "cdk.json").read_text(encoding="utf-8")).get("context", {}), "target": "aws", "tenant": tenant, "dependencies": "skip"}
    environment = toolchain.prepare(root).environment(dict(os.environ))
    environment |= {"CDK_CONTEXT_JSON": json.dumps(context), "CDK_OUTDIR": str(folder)}
    done = subprocess.run([sys.executable, "-m", "infra.app"], cwd=root, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise SynthesisFailed(f"the app could not be synthesised:\n{done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads((folder / _TEMPLATE.format(tenant.replace("_", "-"))).read_text(encoding="utf-8"))
    return found


class SynthesisFailed(RuntimeError):
    """The CDK app ended with an error; the text is its own."""
