/** Numbers as people read them. */

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Bytes in decimal units: `12 MB`, `1.4 GB`. */
export function bytes(count: number | null | undefined): string {
  if (count === null || count === undefined) return "–";
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && value < 9.95 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** Seconds: `12 ms`, `3.2 s`, `1 m 12 s`, `2 h 5 m`, `3 d 4 h`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const [day, hour, minute, second] = [
    Math.floor(whole / 86400),
    Math.floor(whole / 3600) % 24,
    Math.floor(whole / 60) % 60,
    whole % 60,
  ];
  if (day) return hour ? `${day} d ${hour} h` : `${day} d`;
  if (hour) return minute ? `${hour} h ${minute} m` : `${hour} h`;
  return second ? `${minute} m ${second} s` : `${minute} m`;
}

/** The seconds between two moments; until now where the second is not there yet. */
export function between(
  start: string | null | undefined,
  end: string | null | undefined,
  now = Date.now(),
): number | null {
  if (!start) return null;
  return Math.max(0, ((end ? Date.parse(end) : now) - Date.parse(start)) / 1000);
}

/** A moment as seen from now: `just now`, `5 m ago`, `in 2 h`. */
export function ago(moment: string | null | undefined, now = Date.now()): string {
  if (!moment) return "–";
  const seconds = (now - Date.parse(moment)) / 1000;
  const size = Math.abs(seconds);
  if (size < 5) return "just now";
  const text =
    size < 60
      ? `${Math.round(size)} s`
      : size < 3600
        ? `${Math.round(size / 60)} m`
        : size < 86400
          ? `${Math.round(size / 3600)} h`
          : size < 86400 * 60
            ? `${Math.round(size / 86400)} d`
            : `${Math.round(size / 86400 / 30)} months`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

/** A moment in full, in the reader's time zone. */
export function exact(moment: string | null | undefined): string {
  if (!moment) return "";
  return new Date(moment).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** 1234567 as `1,234,567`. */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : value.toLocaleString("en-US");
}

/** A digest as short as people compare it: `sha256:1f2e3d4c…` → `1f2e3d4c5b6a`. */
export function short(digest: string | null | undefined): string {
  return digest ? digest.replace(/^sha256:/, "").slice(0, 12) : "–";
}

/** `1 run`, `2 runs`. */
export function plural(value: number, noun: string, several = `${noun}s`): string {
  return `${count(value)} ${value === 1 ? noun : several}`;
}
