// 64-bit numbers come as bigint. Sizes and counts are below 2^53 and easier to work with as numbers.

/** The same with numbers in place of bigints, and arrays in place of typed ones of them. */
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
