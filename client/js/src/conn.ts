// One attempt at a session, and then that session, as the keeper holds it.
import type { LinkEvents } from "./open.ts";
import type { LinkLike } from "./link.ts";

/** A link that knows when it heard the relay. */
export interface HeardLink extends LinkLike {
  /** When the last bytes came, as performance.now() says it. */
  readonly heard: number;
}

/** One attempt at a session, and then that session. The keeper's, who alone writes here. */
export interface Conn {
  readonly abort: AbortController;
  /** Presented in Hello. */
  token?: string;
  /** Once Hello is on its way. */
  link?: HeardLink | undefined;
  /** Dialled only because a pong is late. */
  suspect: boolean;
  /** On the keeper's clock: since Welcome. */
  since?: number;
  /** Subscriptions on it. */
  feeds: number;
  /** Closes it. */
  leave(): void;
  /** A successor stands: it is closed when the last subscription has left it. */
  leaving?: boolean;
  /** GoAway that came before the session was in use. */
  asked?: Parameters<LinkEvents["goAway"]>[0] | undefined;
}
