import { expect, it } from "vitest";
import type { Setting } from "./queries";
import { defaultText, givenSettings, settingTexts } from "./settings";

const of = (setting: string, more: Partial<Setting> = {}): Setting => ({
  setting,
  kind: "text",
  takes: "text",
  choices: [],
  required: false,
  default: "",
  meaning: "",
  ...more,
});

const SETTINGS = [
  of("url", { required: true }),
  of("port", { kind: "integer", default: 22 }),
  of("options", { kind: "map", default: {} }),
];

it("begins with what is given, and sends what is not empty", () => {
  const texts = settingTexts(SETTINGS, { url: "sftp://x", options: { a: [1] } });
  expect(texts).toEqual({ url: "sftp://x", port: "", options: '{"a":[1]}' });
  expect(givenSettings(SETTINGS, { ...texts, port: "23" }, {})).toEqual({
    url: "sftp://x",
    port: "23",
    options: '{"a":[1]}',
  });
});

it("keeps settings that it does not know", () => {
  expect(givenSettings(SETTINGS, { url: "a" }, { url: "b", newer: true })).toEqual({ newer: true, url: "a" });
});

it("shows defaults that say something", () => {
  expect(SETTINGS.map(defaultText)).toEqual(["", "22", "{}"]);
});
