"""An order placed with the client, followed until it is settled; then many in a stream.

KEY=om_live_… python docs/examples/place_order.py http://127.0.0.1:8000 [ORDERS.jsonl]
"""

import json
import os
import sys
from pathlib import Path

from ordermill_client import Client, NewOrder, NotFound

order: NewOrder = {
    "external_id": "web-2001",
    "currency": "EUR",
    "customer": {"email": "ada@example.com"},
    "ship_to": {"country": "DE", "postal_code": "10115"},
    "lines": [{"sku": "MUG-01", "quantity": 1}],
    "payment": {"method": "pm_card_visa"},
}

url, *files = sys.argv[1:]
orders = Path(files[0]) if files else Path(__file__).with_name("orders.jsonl")

with Client(url, os.environ["KEY"]) as client:
    placed = client.place(order)
    print(f"{placed.external_id} is order {placed.id}: {placed.verdict}")

    settled = client.wait_until_settled(placed.id)
    print(f"order {settled.id} is {settled.status}, {settled.total} {settled.currency}")

    with orders.open(encoding="utf-8") as lines:
        for verdict in client.place_all(json.loads(line) for line in lines):
            print(f"line {verdict.line}: {verdict.external_id} {verdict.verdict}")

    try:
        client.order(77)
    except NotFound as error:
        print(error.detail)
