// Register, log in, order and read the order, with the client that @hey-api/openapi-ts makes.
import { createClient } from "./generated/hey_api/client/index.js";
import { Market, type Order, type OrderingPlaceBody } from "./generated/hey_api/index.js";

const url = process.argv[2]!;
let token: string | undefined;
const market = new Market({ client: createClient({ baseUrl: url, auth: () => token }) });

function answer<T>({ data, error }: { data?: T; error?: unknown }): T {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

const email = `hey-${crypto.randomUUID()}@example.com`;
const password = "a long walk in the rain";
const user = answer(await market.identity.register({ body: { email, name: "Hedy", password } }));
token = answer(await market.identity.login({ body: { email, password } })).access_token;

const [product] = answer(await market.catalog.products({ query: { page_size: 1 } })).items;
const cart: OrderingPlaceBody = {
  lines: [{ product_id: product!.id, quantity: 1 }],
  pay_with: "card",
  payment_method: "pm_card_visa",
};
const headers = { "Idempotency-Key": crypto.randomUUID() };
const first = await market.ordering.place({ body: cart, headers });
const again = await market.ordering.place({ body: cart, headers });
const { order_id } = answer(first);
if (answer(again).order_id !== order_id || again.response?.headers.get("idempotency-replayed") !== "true")
  throw new Error("the order was placed twice");

const seen = { "Craton-Position": first.response!.headers.get("craton-position")! };
let order: Order;
do order = answer(await market.ordering.order({ path: { order: order_id }, headers: seen }));
while (order.status === "pending");
if (order.status !== "confirmed" || order.user_id !== user.id || order.total.amount !== product!.price.amount)
  throw new Error(JSON.stringify(order));

const { error } = await market.ordering.place({ body: { ...cart, lines: [{ product_id: "nothing", quantity: 1 }] } });
if (error?.code !== "product-not-on-sale") throw new Error(JSON.stringify(error));
