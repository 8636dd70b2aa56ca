// The API as a page, from the server's own OpenAPI: nothing is fetched from anywhere else.
const SCHEMA = "/api/v1/openapi.json";

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

// A JSON Schema as one line: `array of Run`, `string or null`.
function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(", ");
  if (schema.type === "array") return schema.items ? `array of ${typeOf(schema.items)}` : "array";
  if (schema.additionalProperties?.$ref || schema.additionalProperties?.type) {
    return `object of ${typeOf(schema.additionalProperties)}`;
  }
  return schema.format ? `${schema.type} (${schema.format})` : schema.type ?? "anything";
}

function table(rows) {
  return element("table", "", ...rows.map((cells) => element("tr", "", ...cells.map((each) => element("td", each)))));
}

function fields(schema, schemas) {
  const found = schema.$ref ? schemas[typeOf(schema)] : schema;
  const rows = Object.entries(found?.properties ?? {}).map(([name, each]) => [
    name,
    typeOf(each),
    found.required?.includes(name) ? "required" : "default" in each ? JSON.stringify(each.default) : "",
    each.description ?? "",
  ]);
  return rows.length ? table(rows) : element("p", typeOf(schema));
}

// Filled when it is opened: there are many operations, and few are looked at.
function fill(place, operation, schemas) {
  if (operation.description) place.append(element("p", operation.description));
  if (operation.security?.length === 0) place.append(element("p", "Takes no login."));
  if (operation.parameters?.length) {
    place.append(element("h3", "Parameters"), table(operation.parameters.map((each) => [
      each.name, each.in, typeOf(each.schema), each.required ? "required" : "", each.description ?? "",
    ])));
  }
  for (const [type, { schema }] of Object.entries(operation.requestBody?.content ?? {})) {
    place.append(element("h3", `Body: ${typeOf(schema)}, ${type}`), fields(schema, schemas));
  }
  for (const [status, answer] of Object.entries(operation.responses ?? {})) {
    const [content] = Object.entries(answer.content ?? {});
    const title = content ? `${status}: ${typeOf(content[1].schema) || content[0]}` : status;
    if (Number(status) >= 400) place.append(element("p", `${status}: ${answer.description}`));
    else place.append(element("h3", title), content?.[1].schema ? fields(content[1].schema, schemas) : element("p", answer.description));
  }
}

async function begin() {
  const told = await (await fetch(SCHEMA, { credentials: "same-origin" })).json();
  const groups = new Map();
  for (const [path, operations] of Object.entries(told.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const place = element("div");
      const made = element(
        "details", "",
        element("summary", "", element("b", method.toUpperCase()), element("code", path), element("span", operation.summary)),
        place,
      );
      made.addEventListener("toggle", () => fill(place, operation, told.components.schemas), { once: true });
      made.dataset.words = `${method} ${path} ${operation.summary}`.toLowerCase();
      const tag = operation.tags?.[0] ?? "other";
      if (!groups.has(tag)) groups.set(tag, element("section", "", element("h2", tag)));
      groups.get(tag).append(made);
    }
  }
  document.getElementById("operations").append(...groups.values());
  const said = document.getElementById("said");
  said.replaceChildren(`Version ${told.info.version}. Send a key as `, element("code", "Authorization: Bearer …"), ". For programs: ");
  said.append(Object.assign(element("a", SCHEMA), { href: SCHEMA }));
  document.getElementById("find").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const group of groups.values()) {
      const shown = [...group.querySelectorAll("details")].filter((each) => {
        each.hidden = !each.dataset.words.includes(wanted);
        return !each.hidden;
      });
      group.hidden = shown.length === 0;
    }
  });
}

begin().catch((error) => {
  const said = document.getElementById("said");
  said.textContent = `The description cannot be read: ${error.message}`;
  said.className = "wrong";
});
