"""The administration: users, roles, permissions, the audit trail. Guarded by address, then by permission."""

from fastapi import APIRouter, Depends

from authapi.api.admin import audit_events, interventions, permissions, roles, stats, users
from authapi.api.admin.guards import require_allowed_address

# First in line: a stolen token must not even tell from elsewhere whether it is good.
router = APIRouter(prefix="/api/admin", tags=["admin"], dependencies=[Depends(require_allowed_address)])
for module in (users, interventions, roles, permissions, audit_events, stats):
    router.include_router(module.router)
