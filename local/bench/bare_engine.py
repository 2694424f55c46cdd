"""What can the local engine do at all? A REST API before an empty function, on a second engine of the same kind."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

from local.engine import engine, process
from local.engine.state import RunDirectory, free_port

_HANDLER = '''"""An empty function behind a webhook's address."""
def handler(event, context):
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": "{}"}
'''


@contextmanager
def running(root: Path) -> Iterator[str]:
    """The address of the empty webhook, as long as the context lasts."""
    folder = root / "build" / "bench" / "bare"
    folder.mkdir(parents=True, exist_ok=True)
    run = RunDirectory(folder)
    run.create()
    state = engine.start(run, free_port(), enforce_iam=False)
    try:
        engine.wait_ready(state)
        yield f"{_empty_api(state.url)}/webhooks/storefront"
    finally:
        process.end_all_of(run.path, [state.process])
        shutil.rmtree(folder, ignore_errors=True)


def _empty_api(url: str) -> str:
    session = boto3.session.Session(region_name=engine.REGION, aws_access_key_id="test", aws_secret_access_key="test")  # noqa: S106 - the engine's own
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("handler.py", _HANDLER)
    role = session.client("iam", endpoint_url=url).create_role(RoleName="bare", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}))["Role"]["Arn"]
    function = session.client("lambda", endpoint_url=url).create_function(
        FunctionName="bare", Runtime="python3.13", Role=role, Handler="handler.handler", MemorySize=256, Code={"ZipFile": archive.getvalue()}
    )["FunctionArn"]
    gateway = session.client("apigateway", endpoint_url=url)
    api = gateway.create_rest_api(name="bare", binaryMediaTypes=["*/*"])["id"]
    resource = gateway.get_resources(restApiId=api)["items"][0]["id"]
    for part in ("webhooks", "{connection}"):
        resource = gateway.create_resource(restApiId=api, parentId=resource, pathPart=part)["id"]
    gateway.put_method(restApiId=api, resourceId=resource, httpMethod="POST", authorizationType="NONE")
    gateway.put_integration(
        restApiId=api,
        resourceId=resource,
        httpMethod="POST",
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=f"arn:aws:apigateway:{engine.REGION}:lambda:path/2015-03-31/functions/{function}/invocations",
    )
    gateway.create_deployment(restApiId=api, stageName="live")
    return engine.api_url(url, api, "live")
