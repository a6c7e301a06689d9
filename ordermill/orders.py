"""ordermill orders: the commands about orders."""

from __future__ import annotations

from ordermill.lazy import Lazy, group

COMMANDS = {
    "ls": Lazy(
        "ordermill.looking",
        "ls",
        "List orders, newest first; --archived those that have been moved into the archive.",
    ),
    "show": Lazy(
        "ordermill.looking",
        "show_one",
        "Show everything about one order, be it archived: lines, money, stock, notifications, timeline. By id, or by --external-id.",
    ),
    "refund": Lazy(
        "ordermill.after_sale",
        "refund",
        "Refund a confirmed order: an amount, lines, shipping, or all that is left. Exit code 1 if the gateway refuses.",
    ),
    "capture": Lazy(
        "ordermill.after_sale",
        "capture",
        "Take what an order has authorized, all of it or an amount; the rest is released. Exit code 1 if the gateway refuses.",
    ),
    "fulfil": Lazy(
        "ordermill.fulfilment",
        "fulfil",
        "Ship an order: units of lines, or all that is left. The customer is told.",
    ),
    "return": Lazy(
        "ordermill.fulfilment",
        "return_units",
        "Take back units that were shipped. Orders that wait for them have what is put into stock. Exit code 1 if the gateway refuses the refund.",
    ),
    "cancel": Lazy(
        "ordermill.held",
        "cancel",
        "Cancel an order wherever it is. What was done for it is undone: refund, units given back.",
    ),
    "requeue": Lazy(
        "ordermill.held",
        "requeue",
        "Put orders on hold back to work where they were held. A hold rule that held one passes it now.",
    ),
    "decide": Lazy(
        "ordermill.deciding",
        "decide",
        "Decide about orders on hold and put them back to work; give exactly one decision.",
    ),
    "archive": Lazy(
        "ordermill.retention",
        "archive",
        "Move orders that have long been over into the archive, in transactions of at most 1,000.",
    ),
    "restore": Lazy(
        "ordermill.retention", "restore", "Bring orders back from the archive, all of them or none."
    ),
    "erase": Lazy(
        "ordermill.retention",
        "erase",
        "Forget who ordered: names, addresses, free texts. What was sold and paid stays.",
    ),
}
orders = group("Look at orders, and put right what is stuck.", COMMANDS)
