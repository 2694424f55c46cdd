"""Which configuration does a deployed stack carry? It stands in the stack's own layer, beside the code that reads it."""

from __future__ import annotations

import io
import json
import zipfile

from crossdock.domain.tenant import TenantSpec
from local.cli import control
from local.cli.options import NotOk
from local.cli.stack import Stack

_FILE = "python/crossdock_tenant/tenant.json"
_ANY_FUNCTION = "receive_webhook"


def configuration(stack: Stack) -> TenantSpec:
    """The resolved tenant configuration as it was deployed. Raises NotOk when the stack shows none."""
    client = stack.session.client("lambda")
    name = json.loads(stack.outputs["FunctionNames"])[_ANY_FUNCTION]
    for layer in client.get_function_configuration(FunctionName=name).get("Layers", []):
        location = client.get_layer_version_by_arn(Arn=layer["Arn"])["Content"]["Location"]
        reply = control.send("GET", location)
        if reply.status != 200:
            raise NotOk(f"the layer {layer['Arn']} cannot be read: {reply.status}")
        with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
            if _FILE in archive.namelist():
                return TenantSpec.model_validate(json.loads(archive.read(_FILE)))
    raise NotOk(f"the function {name} carries no tenant configuration")
