/** How a webhook is called from a shell, with what every system has. */
export function callScript(url: string, secret: string, parameters: Record<string, unknown>): string {
  const body = Object.keys(parameters).length ? JSON.stringify({ parameters }) : "";
  return [
    `secret=${quoted(secret || "$TILTH_WEBHOOK_SECRET")}`,
    `body=${quoted(body)}`,
    "time=$(date +%s)",
    `signature=$(printf '%s.%s' "$time" "$body" | openssl dgst -sha256 -hmac "$secret" -hex | sed 's/.* //')`,
    `curl -X POST ${quoted(url)} \\`,
    `  -H "Tilth-Timestamp: $time" -H "Tilth-Signature: sha256=$signature" -d "$body"`,
  ].join("\n");
}

function quoted(text: string): string {
  if (text === "$TILTH_WEBHOOK_SECRET") return `"${text}"`;
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
