// What the package exports.
export { connect } from "./client.ts";
export type { Relay } from "./client.ts";
export type { Channel, Published } from "./channel.ts";
export * from "./errors.ts";
