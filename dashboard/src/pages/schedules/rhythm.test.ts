import { expect, it } from "vitest";
import { fromField, inSeconds, inUnits, inWords, toField } from "./rhythm";

it("writes seconds in the largest whole unit, and reads them back", () => {
  for (const seconds of [10, 60, 90, 3600, 5400, 86400, 7 * 86400]) {
    const { count, unit } = inUnits(seconds);
    expect(inSeconds(count, unit)).toBe(seconds);
  }
  expect(inUnits(5400)).toEqual({ count: "90", unit: "minutes" });
  expect(["", "0", "1.5", "-2", "x"].map((each) => inSeconds(each, "hours"))).toEqual(Array(5).fill(null));
});

it("tells a rhythm in words", () => {
  expect(inWords({ cron: "30 6 * * *", timezone: "Europe/Berlin" })).toBe("30 6 * * * in Europe/Berlin");
  expect(inWords({ every_s: 3600 })).toBe("every hour");
  expect(inWords({ every_s: 7200 })).toBe("every 2 hours");
  expect(inWords({ at: "2026-01-01T00:00:00Z" })).toBe("once");
});

it("keeps the minute of a moment that goes through a field", () => {
  const moment = new Date(2026, 2, 1, 6, 30).toISOString();
  expect(fromField(toField(moment))).toBe(moment);
  expect(toField(null)).toBe("");
  expect(fromField("")).toBeNull();
});
