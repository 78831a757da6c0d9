export default {
  input: "./generated/openapi.json",
  output: { path: "generated/hey_api", module: { extension: ".js" } },
  plugins: [
    "@hey-api/client-fetch",
    { name: "@hey-api/sdk", operations: { strategy: "single", containerName: "Market" } },
  ],
};
