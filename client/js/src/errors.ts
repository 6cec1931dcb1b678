// The errors that a caller sees: one class for each thing to do about it.

import { codeName, retryOf } from "./codes.ts";
import type { End } from "./session.ts";

/** Base of all errors of this SDK. */
export class MeridianError extends Error {
  static readonly code: number = 0;
  // Fields that the constructor sets are declared only, here and elsewhere: so they cost no bytes.
  /** Of the protocol; 0: none, this side found it. */
  declare readonly code: number;
  /** The code's name; empty: none. */
  declare readonly reason: string;
  /** Whether the same call can succeed later. */
  declare readonly retryable: boolean;
  override readonly name: string = "MeridianError";

  /** options.code: of the protocol; the class has one of its own. */
  constructor(message: string, options?: { readonly cause?: unknown; readonly code?: number }) {
    super(message, options);
    const code = options?.code ?? new.target.code;
    this.code = code;
    this.reason = code ? codeName(code) : "";
    // What may stand already is not to be sent again without an id.
    this.retryable = code > 0 && retryOf(code) !== "final" && new.target !== UnknownOutcomeError;
  }
}

/** The token is missing, not valid, expired or revoked. */
export class UnauthorizedError extends MeridianError {
  static override readonly code: number = 20; // unauthorized
  override readonly name = "UnauthorizedError";
}

/** The token, or the page's origin, does not allow it. */
export class ForbiddenError extends MeridianError {
  static override readonly code: number = 22; // forbidden
  override readonly name = "ForbiddenError";
}

/** The call asks for something impossible. */
export class BadRequestError extends MeridianError {
  static override readonly code: number = 12; // bad_request
  override readonly name = "BadRequestError";
}

/** A payload, key or header is beyond its limit. */
export class TooLargeError extends MeridianError {
  static override readonly code: number = 13; // too_large
  override readonly name = "TooLargeError";
}

/** A queue is full or a rate exceeded; nothing was done. */
export class BusyError extends MeridianError {
  static override readonly code: number = 50; // busy
  override readonly name = "BusyError";
}

/** A publish was sent and its answer can no longer be had: the message may stand or not. */
export class UnknownOutcomeError extends MeridianError {
  static override readonly code: number = 43; // unknown
  override readonly name = "UnknownOutcomeError";
}

/** An id, or a number, was used for two messages. */
export class ConflictError extends MeridianError {
  static override readonly code: number = 42; // conflict
  override readonly name = "ConflictError";
}

/** The client was closed. */
export class ClosedError extends MeridianError {
  override readonly name = "ClosedError";
}

/** The relay cannot be reached, or the way to it was lost. */
export class ConnectionError extends MeridianError {
  static override readonly code: number = 62; // link_lost
  override readonly name = "ConnectionError";
}

/** Relay and SDK do not understand each other. */
export class ProtocolError extends MeridianError {
  static override readonly code: number = 10; // protocol
  override readonly name = "ProtocolError";
}

/** The class of each code, and what to do where the relay's words do not say. */
const kinds: Record<number, readonly [typeof MeridianError, string?]> = {
  10: [ProtocolError, "report it"],
  11: [ProtocolError, "update this SDK or relay"],
  12: [BadRequestError],
  13: [TooLargeError],
  14: [BadRequestError, "give namespace:name"],
  20: [UnauthorizedError, "check its issuer, audience, times, key"],
  21: [UnauthorizedError, "fetch a new token"],
  22: [ForbiddenError, "give a token that allows it"],
  23: [UnauthorizedError, "fetch a new token"],
  24: [ForbiddenError, "list the origin at the relay"],
  25: [ConnectionError],
  30: [BadRequestError, "use another"],
  41: [UnknownOutcomeError, "give an id to repeat it safely"],
  42: [ConflictError, "use another id"],
  43: [UnknownOutcomeError, "give an id to repeat it safely"],
  53: [BusyError, "close some"],
  60: [ConnectionError],
  62: [ConnectionError],
};

/** The error for what ended so; `what` was being done: "publish to chat:lobby". */
export function errorOf(end: End, what: string): MeridianError {
  const { code, detail } = end;
  const [kind, remedy = retryOf(code) === "final" ? "" : "try again later"] =
    kinds[code] ?? [code > 49 && code < 60 ? BusyError : MeridianError];
  return new kind(`${what}: ${codeName(code)}${detail && ": " + detail}${remedy && "; " + remedy}`, { code });
}
