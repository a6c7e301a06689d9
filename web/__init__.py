"""HTTP for upstream systems, gateways and operators: one ASGI app."""
