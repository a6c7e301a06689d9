// An order placed from Node (18 or later, nothing to install), followed until it is settled; then many
// in a stream.
//   KEY=om_live_… node docs/examples/place_order.mjs http://127.0.0.1:8000 [ORDERS.jsonl]
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

const [url, orders = new URL("orders.jsonl", import.meta.url)] = process.argv.slice(2);
const key = { Authorization: `Bearer ${process.env.KEY}` };
const json = { ...key, "Content-Type": "application/json" };
const settled = new Set(["confirmed", "rejected", "cancelled", "on_hold"]);

/** What the API answers. Time-outs, broken connections and "not now" are tried again: do so only with
 * what may be done twice, as orders may (external_id keeps them one), or bears an Idempotency-Key. */
async function ask(path, options = {}, tries = 6) {
    for (let pause = 200; ; pause *= 2) {
        let again = 0;
        try {
            const answer = await fetch(url + path, {
                headers: key, redirect: "error", signal: AbortSignal.timeout(10_000), ...options,
            });
            const body = await answer.json();
            if (answer.ok) return body;
            if (![408, 429, 500, 502, 503, 504].includes(answer.status) || --tries === 0) {
                const wrong = (body.errors ?? []).map((e) => `${e.field}: expected ${e.expected}`);
                throw Object.assign(new Error([body.detail, ...wrong].join("; ")), { problem: body });
            }
            again = Number(answer.headers.get("Retry-After")) * 1000;
        } catch (error) {
            if (error.problem || --tries === 0) throw error;
        }
        await sleep(again + pause * (0.5 + Math.random() / 2));
    }
}

/** A verdict for each order, told while orders are still drawn: both directions are open at once, and
 * whoever doesn't take verdicts is not drawn from. What has no verdict is to be sent again. */
async function* placeAll(orders) {
    async function* lines() {
        for await (const order of orders) yield Buffer.from(JSON.stringify(order) + "\n");
    }
    const answer = await fetch(`${url}/v1/orders/batch`, {
        method: "POST", duplex: "half", body: Readable.toWeb(Readable.from(lines())),
        headers: { ...key, "Content-Type": "application/x-ndjson" },
    });
    if (!answer.ok) throw new Error((await answer.json()).detail);
    for await (const line of createInterface({ input: Readable.fromWeb(answer.body) })) yield JSON.parse(line);
}

const order = {
    external_id: "web-2001", currency: "EUR", customer: { email: "ada@example.com" },
    ship_to: { country: "DE", postal_code: "10115" }, lines: [{ sku: "MUG-01", quantity: 1 }],
    payment: { method: "pm_card_visa" },
};
const placed = await ask("/v1/orders", { method: "POST", headers: json, body: JSON.stringify(order) });
console.log(`${placed.external_id} is order ${placed.id}: ${placed.verdict}`);

let now = placed;
while (!settled.has(now.status)) {
    await sleep(200);
    now = await ask(`/v1/orders/${placed.id}`);
}
console.log(`order ${now.id} is ${now.status}`);

async function* fromFile() {
    const file = createReadStream(orders);
    for await (const line of createInterface({ input: file })) yield JSON.parse(line);
}
for await (const verdict of placeAll(fromFile())) {
    console.log(`line ${verdict.line}: ${verdict.external_id} ${verdict.verdict}`);
}
