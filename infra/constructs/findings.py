"""How is a cdk-nag finding accepted? On one construct, by its exact id, with the reason why it does not apply."""

from __future__ import annotations

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def accept(construct: IConstruct, finding: str, reason: str) -> None:
    """Accept one finding (``AwsSolutions-S1`` or ``AwsSolutions-IAM5[Resource::*]``) here and nowhere else."""
    Validations.of(construct).acknowledge(Acknowledgment(id=finding, reason=reason))
