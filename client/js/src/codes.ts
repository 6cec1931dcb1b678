// The protocol's codes: numbers, names and when to repeat, as docs/protocol.md lists them.

/** Every code by its name on the wire. Numbers are 1 to 999; 0 is done. */
export const Code = {
  done: 0,
  protocol: 10,
  unsupported: 11,
  bad_request: 12,
  too_large: 13,
  bad_channel: 14,
  unauthorized: 20,
  token_expired: 21,
  forbidden: 22,
  revoked: 23,
  origin_refused: 24,
  hello_timeout: 25,
  unknown_namespace: 30,
  moved: 31,
  unavailable: 32,
  read_only: 33,
  out_of_order: 40,
  too_old: 41,
  conflict: 42,
  unknown: 43,
  voided: 44,
  busy: 50,
  publish_rate: 51,
  byte_rate: 52,
  too_many_subscriptions: 53,
  too_many_sessions: 54,
  too_many_connections: 55,
  slow_reader: 56,
  request_rate: 57,
  going_away: 60,
  cancelled: 61,
  link_lost: 62,
  internal: 63,
} as const;

/** The names again, each at its number: so bundlers put numbers for `Code.busy`, and drop the table above. */
const names = (
  "done,,,,,,,,,,protocol,unsupported,bad_request,too_large,bad_channel,,,,,," +
  "unauthorized,token_expired,forbidden,revoked,origin_refused,hello_timeout,,,,," +
  "unknown_namespace,moved,unavailable,read_only,,,,,,,out_of_order,too_old,conflict,unknown,voided,,,,,," +
  "busy,publish_rate,byte_rate,too_many_subscriptions,too_many_sessions,too_many_connections,slow_reader,request_rate,,," +
  "going_away,cancelled,link_lost,internal"
).split(",");

/** The code's name; "code 998" for one that a newer relay has. */
export function codeName(n: number): string {
  return names[n] || "code " + n;
}

/** When a request that ended so can be repeated: never with success, at once, after a wait, with a new token, on another session. */
export type Retry = "final" | "again" | "later" | "token" | "elsewhere";

/** What the digit at each code below says; the others are later. */
const rules: readonly Retry[] = "final,token,again,elsewhere".split(",") as Retry[];

/** The code's retry rule. An unknown code, from a newer relay, is "later". */
export function retryOf(n: number): Retry {
  return rules["0---------00000-----11000-----03--------20020--------0------303"[n] as unknown as number] ?? "later";
}

/** Bytes of the relay that end the session with `code`. Internal: what a caller sees is a ProtocolError. */
export class ProtocolViolation extends Error {
  declare readonly code: number;
  constructor(message: string, code: number = Code.protocol) {
    super(message);
    this.code = code;
  }
}
