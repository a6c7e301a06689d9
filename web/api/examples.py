"""Examples in the OpenAPI description; tests send them."""

from __future__ import annotations

import json
from typing import Any

ORDER: dict[str, Any] = {
    "external_id": "web-1001",
    "currency": "EUR",
    "customer": {"email": "ada@example.com", "name": "Ada"},
    "ship_to": {"country": "DE", "postal_code": "10115"},
    "lines": [{"sku": "MUG-01", "quantity": 2}],
    "payment": {"method": "pm_card_visa"},
}
NDJSON = f"{json.dumps(ORDER)}\n{json.dumps({**ORDER, 'external_id': 'web-1002'})}\n"
VERDICTS = (
    '{"line":1,"external_id":"web-1001","verdict":"duplicate","id":1}\n'
    '{"line":2,"external_id":"web-1002","verdict":"accepted","id":2}\n'
)
DECISION = {"ship_to": {"postal_code": "10115", "region": None}}
DECISIONS = {"orders": [17, 18], "decision": {"charge": "shown"}}
REFUND: dict[str, Any] = {"lines": {"1": 1}, "shipping": True, "reason": "arrived broken"}
FULFILMENT: dict[str, Any] = {"lines": {"1": 2}, "carrier": "DHL", "tracking": "JD014600003828"}
RETURN: dict[str, Any] = {
    "reference": "rma-17",
    "lines": {"1": 1},
    "restock": "main",
    "reason": "too small",
    "refund": True,
}
PRODUCT: dict[str, Any] = {
    "name": "Mug",
    "categories": ["kitchen"],
    "prices": [{"currency": "EUR", "price": "12.00"}],
}
ADJUSTMENT: dict[str, Any] = {"sku": "MUG-01", "units": -1, "reason": "broken in the warehouse"}
WEBHOOK: dict[str, Any] = {
    "url": "https://shop.example/hooks/orders",
    "types": ["order.confirmed", "order.shipped"],
}
COUNT: dict[str, Any] = {"sku": "MUG-01", "units": 40}
