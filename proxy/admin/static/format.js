// Figures as people read them. Pure. What is not a number is a dash; what is not 0 is never shown as 0.

export const DASH = "–";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export function asCount(number) {
  if (!isNumber(number)) return DASH;
  if (number < 1e5) return number.toFixed(0);
  if (number < 999_500) return `${(number / 1e3).toFixed(0)}k`;
  return `${(number / 1e6).toFixed(1)}M`;
}

export function asRate(number) {
  return isNumber(number) && number < 999.95 ? number.toFixed(1) : asCount(number);
}

export function asRatio(ratio) {
  if (!isNumber(ratio)) return DASH;
  const percent = ratio * 100;
  if (percent === 0) return "0 %";
  if (percent < 0.01) return "<.01 %";
  if (percent < 9.995) return `${percent.toFixed(2)} %`;
  return `${percent.toFixed(percent < 99.95 ? 1 : 0)} %`;
}

export function asMs(milliseconds) {
  if (!isNumber(milliseconds)) return DASH;
  if (milliseconds < 9.95) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 999.5) return `${milliseconds.toFixed(0)} ms`;
  return `${(milliseconds / 1000).toFixed(milliseconds < 9950 ? 2 : 0)} s`;
}

export function asGoal(milliseconds) {
  return milliseconds < 1000 ? `${milliseconds} ms` : `${milliseconds / 1000} s`;
}

export function asClock(seconds) {
  if (!isNumber(seconds)) return DASH;
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

// The time, and the day too when it was not within the last 24 hours.
export function asMoment(seconds, now) {
  if (!isNumber(seconds) || now - seconds < 86_400) return asClock(seconds);
  return `${new Date(seconds * 1000).toLocaleDateString([], { day: "numeric", month: "short" })} ${asClock(seconds)}`;
}

export function asAgo(seconds) {
  if (!isNumber(seconds)) return DASH;
  const span = Math.max(seconds, 0);
  if (span < 120) return `${span.toFixed(0)} s ago`;
  if (span < 7200) return `${(span / 60).toFixed(0)} min ago`;
  return span < 172_800 ? `${(span / 3600).toFixed(0)} h ago` : `${(span / 86_400).toFixed(0)} d ago`;
}

// A length of time, to two units: "45 s", "3 min 20 s", "1 h 5 min".
export function asSpan(seconds) {
  if (!isNumber(seconds)) return DASH;
  const whole = Math.max(Math.round(seconds), 0);
  if (whole < 60) return `${whole} s`;
  const [large, small, names] = whole < 3600 ? [Math.floor(whole / 60), whole % 60, ["min", "s"]] : [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), ["h", "min"]];
  return small ? `${large} ${names[0]} ${small} ${names[1]}` : `${large} ${names[0]}`;
}

// A range of buckets: "buckets 0–9", "bucket 0", "no bucket".
export function asBuckets(from, to) {
  if (to <= from) return "no bucket";
  return to - from === 1 ? `bucket ${from}` : `buckets ${from}–${to - 1}`;
}
