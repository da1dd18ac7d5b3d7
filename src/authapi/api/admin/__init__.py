"""The administration: users, roles, permissions, the audit trail. Guarded by address, then by permission."""

from authapi.api.admin import audit_events, interventions, permissions, roles, stats, users

routers = tuple(module.router for module in (users, interventions, roles, permissions, audit_events, stats))
