// What connect takes, checked.
import { BadRequestError } from "./errors.ts";
import type { Carrier } from "./session.ts";
import { show } from "./start.ts";
import type { GetToken } from "./tokens.ts";
import { MAX, utf8 } from "./varint.ts";
import type { WebSocketConstructor } from "./websocket.ts";
import type { WebTransportConstructor } from "./webtransport.ts";

/** A SHA-256 hash of a certificate: 32 bytes, or 64 hex digits. */
export type CertHash = string | ArrayBuffer | Uint8Array;

/** How a relay client connects and what it may hold. Nothing is needed where the relay takes sessions without a token. */
export interface ConnectOptions {
  /** A token for ever. Absent: none. */
  readonly token?: string | undefined;
  /**
   * Fetches a token: asked before the first session, before a token runs out, and when the relay
   * refuses one. It gets 10 s each time. What it throws is told as the `reason` of the state, and
   * it is asked again with backoff, but for an UnauthorizedError: that closes the client.
   */
  readonly getToken?: GetToken | undefined;
  /** Closes the client at once when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /** The carriers in the order to try them. Absent: WebTransport, then WebSocket. */
  readonly carriers?: readonly Carrier[] | undefined;
  /**
   * Certificates that WebTransport trusts without a root; such live 14 days at most. A function is
   * asked at each attempt. Absent or empty: roots.
   */
  readonly certHashes?: readonly CertHash[] | (() => readonly CertHash[] | Promise<readonly CertHash[]>) | undefined;
  /** Where WebSocket goes, if elsewhere: http(s)://HOST:PORT. */
  readonly webSocketURL?: string | URL | undefined;
  /** The WebSocket to use, as of the package `ws` in Node 20. Absent: the platform's. */
  readonly WebSocket?: WebSocketConstructor | undefined;
  /** The WebTransport to use. Absent: the platform's, if it has one. */
  readonly WebTransport?: WebTransportConstructor | undefined;
  /** Subscriptions that can have a stream of their own. Absent: as many as the browser is good for. 0: none. */
  readonly lanes?: number | undefined;
  /** Bytes of messages that each subscription may have on the way and unread, to begin with. Absent: 65536. */
  readonly window?: number | undefined;
  /** Bytes of all publishes without an answer, 256 added for each; beyond it they are refused with BusyError. Absent: 8 MiB. */
  readonly unanswered?: number | undefined;
  /**
   * Milliseconds between attempts to connect: after the n-th failure the wait is uniform between 0
   * and least × 2^(n-1), at most `most`. Absent: 250 and 30,000.
   */
  readonly backoff?: { readonly least?: number | undefined; readonly most?: number | undefined } | undefined;
  /** Names the program to the relay's operator, at most 128 bytes of UTF-8. Absent: this package and its version. */
  readonly agent?: string | undefined;
}

/** ConnectOptions, checked and with what was absent. */
export interface Settings extends ConnectOptions {
  /** Scheme, host and port. */
  readonly url: string;
  readonly token: string;
  readonly carriers: readonly Carrier[];
  /** Empty: wherever the attempt leads, which may be an alternative. */
  readonly webSocketURL: string;
  readonly window: number;
  readonly unanswered: number;
  readonly least: number;
  readonly most: number;
  readonly agent: string;
}

/** Of package.json. */
export const version = "0.1.0";

const known: readonly Carrier[] = ["webtransport", "websocket"];
const where = "https://HOST:PORT and no more; http:// is only WebSocket; a token in getToken";

/** Checks where and how to connect; throws BadRequestError. */
export function settings(url: string | URL, o: ConnectOptions): Settings {
  const origin = originOf("relay URL", url);
  if (Object(o) !== o) bad("options", o, "an object");
  const { token = "", getToken, signal, webSocketURL, backoff, carriers = known, agent = `meridian-js/${version}` } = o;
  const check = (name: string, value: unknown, ok: unknown, remedy: string) => ok || bad(name, value, remedy);
  check("carriers", carriers, Array.isArray(carriers) && carriers.every((k) => known.includes(k)) && carriers.length, "some of " + show(known));
  const usable = carriers.filter((k) => k === "websocket" || origin.startsWith("https"));
  check("relay URL", origin, usable.length, where);
  // A token's value is told to nobody.
  check("token", typeof token, typeof token === "string", "a string");
  check("getToken", typeof getToken, getToken === undefined || (typeof getToken === "function" && !token), "a function and no token beside it");
  check("signal", signal, signal === undefined || signal?.addEventListener, "an AbortSignal");
  check("agent", agent, typeof agent === "string" && utf8(agent).length <= 128, "a string of at most 128 bytes");
  return {
    ...o,
    url: origin,
    webSocketURL: webSocketURL === undefined ? "" : originOf("webSocketURL", webSocketURL),
    token,
    carriers: usable,
    agent,
    window: count("window", o.window, 65_536, 1),
    unanswered: count("unanswered", o.unanswered, 8 << 20, 1),
    lanes: count("lanes", o.lanes, undefined, 0, 65_535),
    least: count("backoff.least", backoff?.least, 250),
    most: count("backoff.most", backoff?.most, 30_000),
  };
}

/** Checks a whole number of at least `least`, at most `most`; absent: other. Throws BadRequestError. */
export function count<Other>(name: string, value: number | undefined, other: Other, least = 0, most = MAX): number | Other {
  if (value === undefined) return other;
  if (!Number.isInteger(value) || value < least || value > most) bad(name, value, `a whole number from ${least} to ${most}`);
  return value;
}

/** Throws a BadRequestError of an option. */
export function bad(name: string, value: unknown, remedy: string): never {
  throw new BadRequestError(`${name} is ${show(value)}: give ${remedy}`);
}

function originOf(name: string, url: string | URL): string {
  const [origin, rest] = splitURL(url);
  // What may be a secret is not told.
  if (!origin || rest) bad(name, String(url).replace(/[?#][^]*|[^]*@/g, "…"), where);
  return origin;
}

/** Scheme, host and port of an http(s) URL without a user, and what comes after the slash behind; of anything else, "". */
export function splitURL(url: string | URL): [origin: string, rest: string] {
  try {
    const [, origin = "", rest = ""] = /^(https?:\/\/[^/?#@]+)\/([^]*)$/.exec(new URL(url).href) ?? [];
    return [origin, rest];
  } catch {
    return ["", ""];
  }
}
