// Register, log in, order and read the order, with openapi-fetch and the types of openapi-typescript.
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/openapi_typescript.js";

const url = process.argv[2]!;
const market = createClient<paths>({ baseUrl: url });

function answer<T>({ data, error }: { data?: T; error?: unknown }): T {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

const email = `fetch-${crypto.randomUUID()}@example.com`;
const password = "a long walk in the rain";
const user = answer(await market.POST("/v1/users", { body: { email, name: "Fay", password } }));
const tokens = answer(await market.POST("/v1/login", { body: { email, password } }));
market.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${tokens.access_token}`);
    return request;
  },
});

const [product] = answer(await market.GET("/v1/products", { params: { query: { page_size: 1 } } })).items;
const cart: components["schemas"]["OrderingPlaceBody"] = {
  lines: [{ product_id: product!.id, quantity: 1 }],
  pay_with: "card",
  payment_method: "pm_card_visa",
};
const header = { "Idempotency-Key": crypto.randomUUID() };
const first = await market.POST("/v1/orders", { params: { header }, body: cart });
const again = await market.POST("/v1/orders", { params: { header }, body: cart });
const { order_id } = answer(first);
if (answer(again).order_id !== order_id || again.response.headers.get("idempotency-replayed") !== "true")
  throw new Error("the order was placed twice");

const seen = { "Craton-Position": first.response.headers.get("craton-position")! };
const path = { order: order_id };
let order: components["schemas"]["Order"];
do order = answer(await market.GET("/v1/orders/{order}", { params: { path, header: seen } }));
while (order.status === "pending");
if (order.status !== "confirmed" || order.user_id !== user.id || order.total.amount !== product!.price.amount)
  throw new Error(JSON.stringify(order));

const { error } = await market.POST("/v1/orders", { body: { ...cart, lines: [{ product_id: "nothing", quantity: 1 }] } });
if (error?.code !== "product-not-on-sale") throw new Error(JSON.stringify(error));

// The default of `atomic`, and of a reference, needn't be given.
export const batch = (transfers: components["schemas"]["TransferOrder"][]) =>
  market.POST("/v1/transfers/batch", { body: { transfers } });
