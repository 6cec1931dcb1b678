/// <reference lib="esnext.disposable" preserve="true" />
// The client itself, and what of it the caller sees.
import type { Channel } from "./channel.ts";
import { channelOf } from "./channel.ts";
import { unlessAborted } from "./closing.ts";
import { startCourier } from "./courier.ts";
import type { Courier } from "./courier.ts";
import { emitter } from "./emitter.ts";
import { ClosedError } from "./errors.ts";
import type { Host, Running } from "./feed.ts";
import { keep } from "./keeper.ts";
import { decode, producerOf } from "./message.ts";
import { openLink, Winner } from "./open.ts";
import type { ConnectOptions } from "./options.ts";
import { bad, settings } from "./options.ts";
import { watchPage } from "./page.ts";
import type { State, StateChange } from "./state.ts";
import { keepToken } from "./tokens.ts";

/** What channels and subscriptions use of a relay client. */
export interface Client extends Host {
  readonly courier: Courier;
  /** The relay's limit of a message's payload in bytes; 0: not said yet. */
  payload: number;
  /** The producer that stands for an id of this client's subject; signal gives up. */
  producerOf(id: string, signal: AbortSignal | undefined): Promise<Uint8Array>;
}

/** A relay client: at any time it has one session, which it replaces when it is lost. */
export interface Relay {
  /** What it is doing about its session. */
  readonly state: State;
  /** How it came to be so: what the newest event `state` said. */
  readonly change: StateChange;
  /** Calls fn at each change of state; the function returned ends that. What fn throws is reported as an uncaught error. */
  on(name: "state", fn: (change: StateChange) => void): () => void;
  /** The channel of that name, `namespace:name`; throws BadRequestError for what cannot be one. */
  channel(name: string): Channel;
  /**
   * Refuses further publishes, waits at most `timeout` ms (absent: 5,000) until those before have
   * their outcome, and ends everything: the rest rejects with ClosedError, or UnknownOutcomeError
   * for what may stand. Never rejects.
   */
  close(options?: { readonly timeout?: number | undefined }): Promise<void>;
  /** close, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Returns a client, which connects by itself and goes on until it is closed, or until the relay
 * refuses it in a way that trying again does not mend. url is https://HOST:PORT, or
 * http://HOST:PORT for WebSocket without TLS. Throws only BadRequestError, for malformed options.
 * In Node, an open client keeps the process alive; a closed one leaves nothing behind.
 */
export function connect(url: string | URL, options: ConnectOptions = {}): Relay {
  const s = settings(url, options);
  const { signal } = s;
  const courier = startCourier(s.unanswered);
  const tokens = keepToken(s.token, s.getToken);
  const events = emitter<{ state: StateChange }>();
  const feeds = new Set<Running>();
  const winner = new Winner();
  let ended = false;
  let refusal: Error | undefined; // what everything that begins rejects with
  let naming: Promise<unknown> | undefined; // until the producers of ids are made
  let closing: Promise<void> | undefined;
  let change: StateChange = { from: "idle", to: "idle" } as StateChange; // the rest is undefined

  const keeper = keep(
    {
      open(attempt, events) {
        const how = { ...s, ...attempt, winner };
        return openLink(how, how, events);
      },
      forget: () => winner.forget(),
      busy: () => feeds.size > 0 || courier.pending > 0,
      moved() {
        const conn = keeper.current;
        const link = conn?.link;
        client.payload = link?.welcome!.limits.payload || client.payload;
        courier.use(link, conn && subjectOf(conn.token!));
        for (const feed of feeds) feed.open();
      },
      state: tell,
      fail: end,
    },
    s.url, tokens, s,
  );
  const stopPage = watchPage(keeper.page);

  const client: Client = {
    settings: s,
    courier,
    payload: 0,
    check() {
      if (refusal) throw refusal;
    },
    producerOf(id, signal) {
      const producer = unlessAborted(signal, nameOf(id));
      const before = naming;
      naming = producer.then(() => before, () => before);
      return producer;
    },
    link: () => keeper.link,
    join: keeper.join,
    part: keeper.part,
    feeds,
  };

  async function nameOf(id: string): Promise<Uint8Array> {
    // Bound to the subject, so that none can take another's.
    const who = id && typeof id === "string" && subjectOf(await tokens.get());
    return producerOf(who || bad("id", id, "text, and a token that is a JWT with sub"), id);
  }

  function tell(to: State, reason: Error | undefined): void {
    const link = keeper.current?.link;
    const { edge, region } = link?.welcome ?? {};
    change = { from: change.to, to, reason, edge, region, carrier: link?.carrier };
    events.emit("state", change);
  }

  // end ends the client: err is what everything rejects with from now on.
  function end(err: Error): void {
    if (ended) return;
    ended = true;
    refusal = err;
    signal?.removeEventListener("abort", aborted);
    stopPage();
    keeper.stop();
    tokens.stop(err);
    courier.abandon(err);
    for (const feed of feeds) feed.finish(err);
    tell("closed", err);
  }

  function aborted(): void {
    end(new ClosedError("the client was closed: its signal aborted", { cause: signal!.reason }));
  }

  async function drain(timeout = 5_000): Promise<void> {
    const err = (refusal = new ClosedError("the client was closed: connect() again"));
    // Its end lets nothing wait any longer.
    const timer = setTimeout(end, Math.min(timeout, 1e9), err);
    await naming;
    await courier.drained();
    clearTimeout(timer);
    end(err);
  }

  // After the caller had its turn to listen.
  queueMicrotask(() => {
    if (signal?.aborted) aborted();
    if (!ended) keeper.start();
  });
  signal?.addEventListener("abort", aborted);

  const close: Relay["close"] = (options) => (closing ??= drain(options?.timeout));
  return {
    get state() {
      return change.to;
    },
    get change() {
      return change;
    },
    on: events.on,
    channel: (name) => channelOf(client, name),
    close,
    [Symbol.asyncDispose]: () => close(), // the key is "undefined" where that is not known
  };
}

// subjectOf reads whom a token speaks for, without verifying it: the relay does. Undefined: it does not tell.
function subjectOf(token: string): string | undefined {
  try {
    const bytes = atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"));
    const { sub } = JSON.parse(decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0)))) as { sub?: unknown };
    return (typeof sub === "string" && sub) || undefined;
  } catch {
    return undefined;
  }
}
