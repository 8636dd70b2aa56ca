/** How often a schedule starts runs, as a form has it. */

export type Rhythm = "cron" | "every" | "at";
export type Unit = "minutes" | "hours" | "days" | "seconds";

const SECONDS: Record<Unit, number> = { seconds: 1, minutes: 60, hours: 3600, days: 86400 };

/** Seconds as the largest unit that they are whole in: 5400 → 90 minutes. */
export function inUnits(seconds: number): { count: string; unit: Unit } {
  const unit =
    (["days", "hours", "minutes"] as const).find((each) => seconds % SECONDS[each] === 0) ?? "seconds";
  return { count: String(seconds / SECONDS[unit]), unit };
}

/** Seconds of a count of units; null where that is no whole number from 1. */
export function inSeconds(count: string, unit: Unit): number | null {
  return /^[1-9]\d{0,8}$/.test(count.trim()) ? Number(count) * SECONDS[unit] : null;
}

/** A schedule's rhythm in words: `30 6 * * mon-fri in Europe/Berlin`, `every 2 hours`, `once`. */
export function inWords(schedule: {
  cron?: string;
  timezone?: string;
  every_s?: number;
  at?: string | null;
}): string {
  if (schedule.cron) return `${schedule.cron} in ${schedule.timezone ?? "UTC"}`;
  if (schedule.every_s) {
    const { count, unit } = inUnits(schedule.every_s);
    return count === "1" ? `every ${unit.slice(0, -1)}` : `every ${count} ${unit}`;
  }
  return "once";
}

/** A moment as a field for date and time has it, in the reader's time zone. */
export function toField(moment: string | null | undefined): string {
  if (!moment) return "";
  const at = new Date(moment);
  const two = (number: number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** What a field for date and time holds as a moment with a zone; null when it is empty. */
export function fromField(text: string): string | null {
  const at = new Date(text);
  return text && !Number.isNaN(at.getTime()) ? at.toISOString() : null;
}
