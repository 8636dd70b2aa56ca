import { asText } from "@/ui/form/values";
import type { Setting } from "./queries";

/** The texts that a form for a component's settings begins with; empty where the default holds. */
export function settingTexts(settings: Setting[], given: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    settings.map(({ setting }) => [setting, setting in given ? asText(given[setting]) : ""]),
  );
}

/**
 * What to send: each text that was given, as it would be written on a command line; the server reads it by the
 * setting's type. Settings that the form does not know, as of another version of the flavor, stay as they are.
 */
export function givenSettings(
  settings: Setting[],
  texts: Record<string, string>,
  before: Record<string, unknown>,
): Record<string, unknown> {
  const known = new Set(settings.map((each) => each.setting));
  const others = Object.entries(before).filter(([name]) => !known.has(name));
  const given = settings
    .map(({ setting }) => [setting, texts[setting] ?? ""] as const)
    .filter(([, text]) => text !== "");
  return Object.fromEntries([...others, ...given]);
}

/** What a default is, as a field shows it in place of a text. */
export function defaultText({ required, default: usual }: Setting): string {
  if (required || usual === null || usual === "") return "";
  return asText(usual);
}
