#!/bin/sh
# An order placed with curl, followed until it is settled; then many in a stream.
#   KEY=om_live_… sh docs/examples/place_order.sh http://127.0.0.1:8000 [ORDERS.jsonl]
set -eu
url=$1 orders=${2:-$(dirname "$0")/orders.jsonl}

# Whatever curl doesn't get an answer to may be sent again: external_id keeps it one order. --retry does
# so on time-outs and on 408, 429, 500, 502, 503 and 504, and waits as long as Retry-After says.
ask() {
    curl -sS --fail-with-body --retry 5 --retry-connrefused --max-time 10 -H "Authorization: Bearer $KEY" "$@"
}

ask "$url/v1/orders" -H "Content-Type: application/json" -d '{"external_id": "web-2001", "currency": "EUR", "customer": {"email": "ada@example.com"}, "ship_to": {"country": "DE", "postal_code": "10115"}, "lines": [{"sku": "MUG-01", "quantity": 1}], "payment": {"method": "pm_card_visa"}}'
echo

# The list finds it by our own name for it.
until ask "$url/v1/orders?external_id=web-2001" | grep -E '"status":"(confirmed|rejected|cancelled|on_hold)"'; do
    sleep 1
done

# A line an order; the verdicts come while the file is still being sent.
curl -sSN -T "$orders" -X POST "$url/v1/orders/batch" \
    -H "Authorization: Bearer $KEY" -H "Content-Type: application/x-ndjson"
