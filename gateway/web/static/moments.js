// How a time is said: in the visitor's own zone, and how long ago or how soon it is.
const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "narrow" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export function say(at, now = Date.now()) {
  const seconds = Math.round((new Date(at) - now) / 1000);
  if (Math.abs(seconds) < 2) return "now";
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS.at(-1);
  return relative.format(Math.trunc(seconds / size), unit);
}

export function sayWhole(at) {
  return whole.format(new Date(at));
}

