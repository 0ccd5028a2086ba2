// The engine returns 64-bit numbers as bigints. Sizes and counts are below 2^53 and easier to use as numbers.

/** A copy of the value with numbers instead of bigints, and plain arrays instead of bigint arrays. */
export function plainNumbers(value) {
  if (typeof value === "bigint") {
    return Number(value);
  }
  if (Array.isArray(value) || value instanceof BigUint64Array) {
    return Array.from(value, plainNumbers);
  }
  if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) {
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plainNumbers(field)]));
  }
  return value;
}
