"""Which key encrypts a tenant's data, and where do its credentials live?"""

from __future__ import annotations

import json

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from crossdock.domain.tenant import TenantSpec
from infra.constructs.findings import accept


class Security(Construct):
    """One key and one secret per tenant: destroying the key makes the tenant's data unreadable everywhere."""

    def __init__(self, scope: Construct, name: str, *, spec: TenantSpec) -> None:
        super().__init__(scope, name)
        self.log_prefix = f"/crossdock/{spec.tenant}"
        # An imported key's policy cannot be added to: what it lets in stands below, and nowhere behind this file's back.
        self.key = kms.Key.from_key_arn(self, "SameKey", self._build_key(spec).key_arn)
        self.secret = self._build_secret(spec)
        # The attribute, because a reference is the ARN on AWS and only the name on the local engine.
        self.secret_arn = _resource(self.secret).attr_id

    def _build_key(self, spec: TenantSpec) -> kms.Key:
        key = kms.Key(
            self,
            "Key",
            description=f"Everything Crossdock keeps for {spec.tenant}",
            enable_key_rotation=True,
            pending_window=Duration.days(30),
            removal_policy=RemovalPolicy.RETAIN,
        )
        groups = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group"
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="LogsOfThisTenant",
                principals=[iam.ServicePrincipal(f"logs.{Aws.REGION}.amazonaws.com")],
                actions=["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:DescribeKey"],
                resources=["*"],  # in a key policy: this key
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": [f"{groups}:{self.log_prefix}/*", f"{groups}:/aws/vendedlogs{self.log_prefix}/*"]}},
            )
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="EventsOfThisAccount",  # the bus and its archive rest under the key, and so do the queues that the rule sends to
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisAccount",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        accept(
            key,
            "AwsSolutions-IAM5[Action::kms:*]",
            "The account administers its key, and its roles' own policies count for it: a key that its account may not administer is lost.",
        )
        return key

    def _build_secret(self, spec: TenantSpec) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            "Credentials",
            description=f"Credentials of every connection of {spec.tenant}: one JSON object, by connection",
            encryption_key=self.key,
            # The template carries the empty shape only; operators put the values. Generated, so that no deploy overwrites them.
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template=json.dumps(spec.secret_template(), sort_keys=True),
                generate_string_key="_generated",
                exclude_punctuation=True,
            ),
            removal_policy=RemovalPolicy.RETAIN,
        )
        accept(
            secret,
            "AwsSolutions-SMG4",
            "The values are other vendors' credentials: only the vendor can issue new ones. Current and previous value are both accepted while an operator rotates.",
        )
        return secret


def _resource(secret: secretsmanager.Secret) -> secretsmanager.CfnSecret:
    child = secret.node.default_child
    if not isinstance(child, secretsmanager.CfnSecret):
        raise TypeError(f"{secret.node.path} is not a secret of this stack")
    return child
