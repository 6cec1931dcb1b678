// A channel's handle: its name, checked, and what can be asked of it.
import type { Client } from "./client.ts";
import { history } from "./history.ts";
import type { HistoryOptions } from "./history.ts";
import { encodeMessage } from "./message.ts";
import type { Message, Outgoing } from "./message.ts";
import { bad } from "./options.ts";
import type { Position } from "./position.ts";
import { subscribe } from "./subscription.ts";
import type { SubscribeOptions, Subscription } from "./subscription.ts";
import { utf8 } from "./varint.ts";

/** A message was published. */
export interface Published {
  /** Where it stands in its channel. */
  readonly position: Position;
}

/** One channel of a relay client: a name to publish and subscribe by. It costs nothing to have. */
export interface Channel {
  readonly name: string;

  /**
   * Publishes a message and resolves once the channel's home has acknowledged it, however many
   * sessions that takes. Before the client is connected, and while it is not, the message waits.
   * Messages to one channel stand in the order of the calls. Those with an `id` have no order, not
   * even among them; they need the token first, and reject with what getToken does.
   *
   * Rejects, and never throws: BadRequestError and TooLargeError for what cannot be a message,
   * BusyError beyond `unanswered`, the relay's refusals, ClosedError, the reason of `signal`. An
   * UnknownOutcomeError says that the message may stand nevertheless; after any other it does not,
   * and will not.
   */
  publish(message: Outgoing, options?: { readonly signal?: AbortSignal | undefined }): Promise<Published>;

  /** Begins to receive messages, at once; throws BadRequestError for options that cannot be. */
  subscribe(options?: SubscribeOptions): Subscription;

  /**
   * The messages that stand when it is iterated, from the oldest that is retained or from where
   * `from` says, at most `limit`. Gaps are left out.
   */
  history(options?: HistoryOptions): AsyncIterable<Message>;
}

const grammar = /^[a-z][a-z0-9-]{0,31}:([^\p{Cc}\p{Cs}]+)$/u;

/** Checks name, and makes a Channel of client; throws BadRequestError. */
export function channelOf(client: Client, name: string): Channel {
  const [, rest] = (typeof name === "string" && grammar.exec(name)) || [];
  if (!rest || utf8(rest).length > 192) {
    bad("channel", name, "namespace:name, at most 32 of a-z0-9-, a letter first, and 192 bytes, no control characters");
  }
  return {
    name,
    // Runs up to the post in the caller's turn, so that the order is that of the calls.
    async publish(message, options) {
      client.check();
      const body = encodeMessage(message, client.payload);
      const producer = message.id === undefined ? undefined : await client.producerOf(message.id, options?.signal);
      return { position: await client.courier.post(name, body, producer, options?.signal) };
    },
    subscribe: (options) => subscribe(client, name, options ?? {}),
    history: (options) => history(client, name, options ?? {}),
  };
}
