"""Where does a tenant's data rest: records, audit trail, raw archive?"""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from crossdock.domain.tenant import TenantSpec
from infra.constructs.findings import accept

LISTING_INDEX = "listing"

# Long enough to outlive a mistake or an intruder, short enough that personal data can still be deleted on request.
ARCHIVE_LOCK_DAYS = 30


class Storage(Construct):
    """Table of records, append-only audit table, versioned and locked archive."""

    def __init__(self, scope: Construct, name: str, *, spec: TenantSpec, key: kms.IKey) -> None:
        super().__init__(scope, name)
        self.state = self._build_table("State", key, ttl="expires_at")
        self.state.add_global_secondary_index(
            index_name=LISTING_INDEX,
            partition_key=dynamodb.Attribute(name="listing", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sort", type=dynamodb.AttributeType.STRING),
            projection_type=dynamodb.ProjectionType.KEYS_ONLY,
        )
        self.audit = self._build_table("Audit", key, policy=_append_only())
        self.archive = self._build_archive(spec, key)

    def _build_table(self, name: str, key: kms.IKey, *, ttl: str | None = None, policy: iam.PolicyDocument | None = None) -> dynamodb.Table:
        return dynamodb.Table(
            self,
            name,
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(point_in_time_recovery_enabled=True),
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
            time_to_live_attribute=ttl,
            resource_policy=policy,
        )

    def _build_archive(self, spec: TenantSpec, key: kms.IKey) -> s3.Bucket:
        archive = s3.Bucket(
            self,
            "Archive",
            versioned=True,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=key,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            object_lock_enabled=True,
            object_lock_default_retention=s3.ObjectLockRetention.governance(Duration.days(ARCHIVE_LOCK_DAYS)),
            removal_policy=RemovalPolicy.RETAIN,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="keep-then-forget",
                    transitions=[s3.Transition(storage_class=s3.StorageClass.GLACIER_INSTANT_RETRIEVAL, transition_after=Duration.days(90))],
                    expiration=Duration.days(spec.retention_days),
                    noncurrent_version_expiration=Duration.days(ARCHIVE_LOCK_DAYS),
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                )
            ],
        )
        accept(
            archive,
            "AwsSolutions-S1",
            "Who reads an object is recorded by the account's CloudTrail data events; a log bucket per tenant would itself need a log bucket.",
        )
        return archive


def _append_only() -> iam.PolicyDocument:
    """Nobody changes or removes an entry, whatever their own permissions say (a put of an existing key is refused by condition)."""
    return iam.PolicyDocument(
        statements=[
            iam.PolicyStatement(
                sid="AppendOnly",
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:PartiQLUpdate", "dynamodb:PartiQLDelete"],
                resources=["*"],  # in a table's policy: this table
            )
        ]
    )
