import { execFileSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { expect, it } from "vitest";
import { callScript } from "./calling";

it("signs a request as the server reads it, whatever its parameters hold", () => {
  const parameters = { name: `it's "quoted" $HOME \`x\``, rows: 3 };
  const script = callScript("https://tilth.example.com/api/v1/hooks/1", "tilth_hook_abc", parameters);
  // What curl would be given is printed instead.
  const told = execFileSync("bash", ["-c", `curl() { printf '%s\\n' "$@"; }\n${script}`], {
    encoding: "utf8",
  });
  const words = told.trimEnd().split("\n");
  const body = words.at(-1) ?? "";
  expect(JSON.parse(body)).toEqual({ parameters });
  const time = words.find((each) => each.startsWith("Tilth-Timestamp"))?.split(": ")[1];
  const wanted = createHmac("sha256", "tilth_hook_abc").update(`${time}.${body}`).digest("hex");
  expect(words).toContain(`Tilth-Signature: sha256=${wanted}`);
});

it("names a variable where the secret is not known any more", () => {
  expect(callScript("https://x", "", {})).toContain('secret="$TILTH_WEBHOOK_SECRET"');
});
