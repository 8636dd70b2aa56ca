import { describe, expect, it } from "vitest";
import { ago, between, bytes, count, duration, plural, short } from "./format";

describe("format", () => {
  it("writes bytes in decimal units, never as 1000 of one", () => {
    expect([0, 999, 1000, 1500, 999_499, 999_500, 12_000_000, 1.4e9].map(bytes)).toEqual([
      "0 B",
      "999 B",
      "1.0 kB",
      "1.5 kB",
      "999 kB",
      "1.0 MB",
      "12 MB",
      "1.4 GB",
    ]);
  });

  it("writes durations by their largest two units", () => {
    expect([0, 0.0123, 0.9999, 3.21, 59.6, 72, 120, 7500, 97200].map(duration)).toEqual([
      "0 ms",
      "12 ms",
      "1.0 s",
      "3.2 s",
      "1 m",
      "1 m 12 s",
      "2 m",
      "2 h 5 m",
      "1 d 3 h",
    ]);
  });

  it("tells moments from now, before and after", () => {
    const now = Date.parse("2026-01-02T00:00:00Z");
    expect(ago("2026-01-01T23:55:00Z", now)).toBe("5 m ago");
    expect(ago("2026-01-02T02:00:00Z", now)).toBe("in 2 h");
    expect(ago("2026-01-01T23:59:58Z", now)).toBe("just now");
    expect(ago(null, now)).toBe("–");
  });

  it("measures to now what has not ended", () => {
    expect(between("2026-01-01T00:00:00Z", null, Date.parse("2026-01-01T00:00:05Z"))).toBe(5);
    expect(between(null, null)).toBeNull();
  });

  it("shortens and counts", () => {
    expect(short("sha256:0123456789abcdef")).toBe("0123456789ab");
    expect(count(1234567)).toBe("1,234,567");
    expect([plural(1, "run"), plural(0, "run"), plural(2, "run")]).toEqual(["1 run", "0 runs", "2 runs"]);
  });
});
