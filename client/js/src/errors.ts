// The errors that a caller sees: one class for each thing to do about it.

import { Code, codeName, retryOf } from "./codes.ts";
import type { End } from "./session.ts";

/** Base of all errors of this SDK. */
export class MeridianError extends Error {
  static readonly code: number = 0;
  /** Of the protocol; 0: none, this side found it. */
  readonly code: number;
  /** The code's name; empty: none. */
  readonly reason: string;
  /** Whether the same call can succeed later. */
  readonly retryable: boolean;
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
  static override readonly code: number = Code.unauthorized;
  override readonly name = "UnauthorizedError";
}

/** The token, or the page's origin, does not allow it. */
export class ForbiddenError extends MeridianError {
  static override readonly code: number = Code.forbidden;
  override readonly name = "ForbiddenError";
}

/** The call asks for something impossible. */
export class BadRequestError extends MeridianError {
  static override readonly code: number = Code.bad_request;
  override readonly name = "BadRequestError";
}

/** A payload, key or header is beyond its limit. */
export class TooLargeError extends MeridianError {
  static override readonly code: number = Code.too_large;
  override readonly name = "TooLargeError";
}

/** A queue is full or a rate exceeded; nothing was done. */
export class BusyError extends MeridianError {
  static override readonly code: number = Code.busy;
  override readonly name = "BusyError";
}

/** A publish was sent and its answer can no longer be had: the message may stand or not. */
export class UnknownOutcomeError extends MeridianError {
  static override readonly code: number = Code.unknown;
  override readonly name = "UnknownOutcomeError";
}

/** An id, or a number, was used for two messages. */
export class ConflictError extends MeridianError {
  static override readonly code: number = Code.conflict;
  override readonly name = "ConflictError";
}

/** The client was closed. */
export class ClosedError extends MeridianError {
  override readonly name = "ClosedError";
}

/** The relay cannot be reached, or the way to it was lost. */
export class ConnectionError extends MeridianError {
  static override readonly code: number = Code.link_lost;
  override readonly name = "ConnectionError";
}

/** Relay and SDK do not understand each other. */
export class ProtocolError extends MeridianError {
  static override readonly code: number = Code.protocol;
  override readonly name = "ProtocolError";
}

function classOf(code: number): typeof MeridianError {
  switch (code) {
    case 10:
    case 11:
      return ProtocolError;
    case 12:
    case 14:
    case 30:
      return BadRequestError;
    case 13:
      return TooLargeError;
    case 20:
    case 21:
    case 23:
      return UnauthorizedError;
    case 22:
    case 24:
      return ForbiddenError;
    case 25:
    case 60:
    case 62:
      return ConnectionError;
    case 41:
    case 43:
      return UnknownOutcomeError;
    case 42:
      return ConflictError;
  }
  return code > 49 && code < 60 ? BusyError : MeridianError;
}

/** What to do, where the relay's words do not say. */
const remedies: Record<number, string> = {
  10: "report it",
  11: "update this SDK or the relay",
  14: "write namespace:name",
  20: "check the token's issuer, audience, times and key",
  21: "fetch a new token",
  22: "ask for a token whose cap allows it",
  23: "fetch another token",
  24: "let the relay's operator list this page's origin",
  30: "use a namespace that the relay has",
  41: "give messages an id to repeat them safely",
  42: "use an id for one message only",
  43: "give messages an id to repeat them safely",
  53: "close some",
};

/** The error for what ended so; `what` was being done: "publish to chat:lobby". */
export function errorOf(end: End, what: string): MeridianError {
  const { code } = end;
  const remedy = remedies[code] ?? (retryOf(code) === "final" ? "" : "try again later");
  return new (classOf(code))(
    `${what}: ${codeName(code)}${end.detail && ": " + end.detail}${remedy && "; " + remedy}`,
    { code },
  );
}
