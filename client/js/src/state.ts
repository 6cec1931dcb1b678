// What a client tells of its session.
import type { Carrier } from "./session.ts";

/**
 * What a relay client is doing about its session:
 * - `idle`: just made
 * - `connecting`: for the first time
 * - `connected`: a session stands
 * - `reconnecting`: it was lost; subscriptions and publishes wait
 * - `suspended`: no session for two minutes; still trying
 * - `closed`: for ever
 */
export type State = "idle" | "connecting" | "connected" | "reconnecting" | "suspended" | "closed";

/** The event `state`. It also comes with `from` equal to `to`: another attempt failed, or another session took over. */
export interface StateChange {
  readonly from: State;
  readonly to: State;
  /** Why the last session, or the last attempt, failed; undefined: it did not. */
  readonly reason: Error | undefined;
  /** The process at the other end, its region, and what carries the session; undefined unless connected. */
  readonly edge: string | undefined;
  readonly region: string | undefined;
  readonly carrier: Carrier | undefined;
}
