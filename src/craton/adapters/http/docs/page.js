// Swagger UI over /openapi.json. An access token that is answered (RFC 6749, section 5.1), to the form of this page or
// to a route that is tried, goes with all requests from then on. It is kept in the page's memory and nowhere else.

const form = document.getElementById("login");
const said = document.createElement("output");

const dark = matchMedia("(prefers-color-scheme: dark)");
const followTheSystem = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", followTheSystem);
followTheSystem();

function take(answer) {
  if (!answer?.access_token || answer.token_type?.toLowerCase() !== "bearer") return;
  ui.preauthorizeApiKey("token", answer.access_token);
  said.value = "Logged in, as long as this page is open.";
}

function fieldsOf(api, part) {
  const schema = part?.content?.["application/json"]?.schema;
  const name = schema?.$ref?.split("/").pop();
  return (api.components.schemas[name] ?? schema)?.properties ?? {};
}

// The route that asks for a password and answers with a token, if there is one.
function loginRoute(api) {
  const found = Object.entries(api.paths).find(
    ([, { post }]) => fieldsOf(api, post?.requestBody).password && fieldsOf(api, post?.responses["200"]).access_token,
  );
  return found && { path: found[0], fields: Object.keys(fieldsOf(api, found[1].post.requestBody)) };
}

function input(name) {
  const [type, autocomplete] = name === "password" ? ["password", "current-password"] : ["text", "username"];
  const properties = { name, type, autocomplete, placeholder: name, ariaLabel: name, required: true };
  return Object.assign(document.createElement("input"), properties);
}

async function logIn(event, path) {
  event.preventDefault();
  const body = JSON.stringify(Object.fromEntries(new FormData(form)));
  const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body });
  const told = await answer.json();
  said.value = answer.ok ? "" : `${answer.status} ${told.title}. ${told.detail}`;
  if (answer.ok) {
    form.reset();
    take(told);
  }
}

function offerLogin() {
  const api = ui.specSelectors.specJson().toJS();
  document.title = api.info.title;
  const login = loginRoute(api);
  if (!login || !form.hidden) return;
  const button = Object.assign(document.createElement("button"), { textContent: "Log in" });
  form.append(...login.fields.map(input), button, said);
  form.addEventListener("submit", (event) => logIn(event, login.path));
  form.hidden = false;
}

globalThis.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  validatorUrl: null,
  persistAuthorization: false,
  queryConfigEnabled: false,
  tryItOutEnabled: true,
  deepLinking: true,
  filter: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  onComplete: offerLogin,
  responseInterceptor(answer) {
    if (answer.ok) take(answer.obj);
    return answer;
  },
});
