// Reading what a channel has.

import type { Host } from "./feed.ts";
import type { Message } from "./message.ts";
import { bad, count } from "./options.ts";
import { parseStart } from "./start.ts";
import type { From } from "./start.ts";
import { subscribe } from "./subscription.ts";
import { MAX } from "./varint.ts";

/** What of a channel's messages to read. */
export interface HistoryOptions {
  /** Where to begin. Absent, or "live": the oldest that is retained. */
  readonly from?: From | undefined;
  /** At most so many messages. Absent: all. */
  readonly limit?: number | undefined;
}

/**
 * The messages that stand when it is iterated, those acknowledged before included. Each loop reads
 * anew, and takes as much memory as a subscription. Throws BadRequestError for options that cannot be.
 */
export function history(host: Host, channel: string, options: HistoryOptions): AsyncIterable<Message> {
  if (Object(options) !== options) bad("options", options, 'an object, as { from: "start" }');
  const limit = count("limit", options.limit, MAX, 1);
  const from = options.from === "live" ? "start" : (options.from ?? "start");
  parseStart(from);
  return {
    [Symbol.asyncIterator]: () => subscribe(host, channel, { from, barrier: true }, limit)[Symbol.asyncIterator](),
  };
}
