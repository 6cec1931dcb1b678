/// <reference lib="esnext.disposable" preserve="true" />
// The client itself, and what of it the caller sees.
import type { Channel } from "./channel.ts";
import { channelOf } from "./channel.ts";
import type { Conn } from "./conn.ts";
import { Courier } from "./courier.ts";
import { Emitter } from "./emitter.ts";
import { BadRequestError, ClosedError } from "./errors.ts";
import type { Host, Running } from "./feed.ts";
import { Keeper } from "./keeper.ts";
import type { LinkLike } from "./link.ts";
import { producerOf } from "./message.ts";
import { openLink, Winner } from "./open.ts";
import type { ConnectOptions, Settings } from "./options.ts";
import { settings } from "./options.ts";
import { isHidden, isOffline, watchPage } from "./page.ts";
import type { State, StateChange } from "./state.ts";
import { Tokens } from "./tokens.ts";

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
  return new Client(settings(url, options));
}

/** What channels and subscriptions use of a relay client. */
export class Client implements Relay, Host {
  readonly settings: Settings;
  readonly courier: Courier;
  readonly #tokens: Tokens;
  readonly #keeper: Keeper;
  readonly #events = new Emitter<{ state: StateChange }>();
  readonly #subs = new Set<Running>();
  readonly #stopPage: () => void;
  #inUse: Conn | undefined; // by the courier
  #over: Error | undefined; // what everything rejects with
  #closing: Promise<void> | undefined;
  change: StateChange = { from: "idle", to: "idle", reason: undefined, edge: undefined, region: undefined, carrier: undefined };
  /** The relay's limit of a message's payload in bytes; 0: not said yet. */
  payload = 0;

  constructor(s: Settings, open: typeof openLink = openLink) {
    this.settings = s;
    this.courier = new Courier({ limit: s.unanswered });
    this.#tokens = new Tokens(s.token, s.getToken);
    const winner = new Winner();
    this.#keeper = new Keeper(
      {
        open: (a, events) => open({ ...s, ...a, winner }, { token: a.token, agent: s.agent, lanes: s.lanes }, events),
        forget: () => winner.forget(),
        busy: () => this.#subs.size > 0 || this.courier.pending > 0,
        isOffline,
        random: Math.random,
        moved: () => this.#moved(),
        state: (to, reason) => this.#state(to, reason),
        fail: (err) => this.#end(err),
      },
      s.url, this.#tokens, s, isHidden(),
    );
    this.#stopPage = watchPage((event) => this.#keeper.page(event));
    // After the caller had its turn to listen.
    queueMicrotask(() => {
      const { signal } = s;
      if (signal?.aborted) this.#aborted();
      else if (!this.#over) this.#keeper.start();
      signal?.addEventListener("abort", this.#aborted);
    });
  }

  get state(): State {
    return this.change.to;
  }

  on(name: "state", fn: (change: StateChange) => void): () => void {
    return this.#events.on(name, fn);
  }

  channel(name: string): Channel {
    return channelOf(this, name);
  }

  close({ timeout }: { readonly timeout?: number | undefined } = {}): Promise<void> {
    return (this.#closing ??= this.#close(timeout));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Throws what everything rejects with, once the client has ended. */
  check(): void {
    if (this.#over) throw this.#over;
  }

  link(): LinkLike | undefined {
    return this.#keeper.link;
  }

  join(link: LinkLike): void {
    this.#keeper.join(link);
  }

  part(link: LinkLike): void {
    this.#keeper.part(link);
  }

  add(sub: Running): void {
    this.#subs.add(sub);
  }

  remove(sub: Running): void {
    this.#subs.delete(sub);
  }

  /** The producer that stands for an id of this client's subject. */
  async producerOf(id: string): Promise<Uint8Array> {
    if (typeof id !== "string" || !id) throw new BadRequestError("id must be text that is not empty");
    const who = subjectOf(await this.#tokens.get());
    if (who === undefined) throw new BadRequestError("a message with an id needs a token that is a JWT with a subject (sub): the id is bound to it");
    return producerOf(who, id);
  }

  async #close(timeout: number | undefined): Promise<void> {
    this.courier.shut(new ClosedError("the client is closing: publish before close()"));
    let timer;
    await Promise.race([
      this.courier.drained(),
      new Promise((resolve) => {
        timer = setTimeout(resolve, timeout ?? 5_000);
      }),
    ]);
    clearTimeout(timer);
    this.#end(new ClosedError("the client was closed: make another with connect()"));
  }

  readonly #aborted = (): void => {
    this.#end(new ClosedError("the client was closed by its signal", { cause: this.settings.signal!.reason }));
  };

  // #end ends the client: err is what everything rejects with from now on.
  #end(err: Error): void {
    if (this.#over) return;
    this.#over = err;
    this.settings.signal?.removeEventListener("abort", this.#aborted);
    this.#stopPage();
    this.#keeper.stop();
    this.#tokens.stop(err);
    this.courier.abandon(err);
    for (const sub of [...this.#subs]) sub.clientClosed(err);
    this.#state("closed", err);
  }

  #moved(): void {
    const conn = this.#keeper.current;
    if (conn !== this.#inUse) {
      this.#inUse = conn;
      this.payload = conn?.link!.welcome!.limits.payload || this.payload;
      this.courier.use(conn?.link, conn && subjectOf(conn.token));
    }
    for (const sub of [...this.#subs]) sub.linkChanged();
  }

  #state(to: State, reason: Error | undefined): void {
    if (this.#over && to !== "closed") return; // closed by a listener on the way
    const from = this.state;
    const link = this.#keeper.current?.link;
    const { edge, region } = link?.welcome ?? {};
    const c = { from, to, reason, edge, region, carrier: link?.carrier };
    const was = this.change;
    if (to === from && to !== "connected" && reason === was.reason) return;
    this.change = c;
    this.#events.emit("state", c);
  }
}

// subjectOf reads whom a token speaks for, without verifying it: the relay does. Undefined: it does not tell.
function subjectOf(token: string): string | undefined {
  try {
    const bytes = atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"));
    const { sub } = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0)))) as { sub?: unknown };
    return (typeof sub === "string" && sub) || undefined;
  } catch {
    return undefined;
  }
}
