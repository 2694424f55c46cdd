"""What does the simulated Business Central do? API v2.0 of one company, with sign-in, posting, staff and notifications.

Configuration: credentials {aad_tenant, environment, company_id, client_id, client_secret}; the seed is described in
`masters.py`, staff actions in `staff.py`.
"""

from __future__ import annotations

from local.simulators.business_central.service import BusinessCentral
from local.simulators.server import Config, Context, Simulator


def create(config: Config, ctx: Context) -> Simulator:
    """Called by the skeleton."""
    return BusinessCentral(config, ctx)
