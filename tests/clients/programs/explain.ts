// Explains a row with openapi-fetch and the types that openapi-typescript has generated; prints JSON.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { env: { URL: string; KEY: string } };

const client = createClient<paths, "application/json" | "application/problem+json">({
  baseUrl: process.env.URL,
  headers: { Authorization: `Bearer ${process.env.KEY}` },
});
const row = [47, 2, 22.5, 82, 131, 66.8, 41, 3, 4.7536, null];

const { data, error } = await client.POST("/v1/explain", { body: { model: "diabetes", rows: [row] } });
if (error) throw new Error(error.detail);
if (!("values" in data)) throw new Error(`job ${data.id} is ${data.status}`);
const result: components["schemas"]["Result"] = data;

const problem = await client.GET("/v1/models/{name}", { params: { path: { name: "nothing" } } });
const kind: components["schemas"]["ProblemType"] | undefined = problem.error?.type;
if (kind !== "/problems/model-not-found") throw new Error(`unexpected ${kind}`);

console.log(JSON.stringify(result));
