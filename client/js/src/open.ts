// Opens sessions: lets the carriers race, and says Hello on the winner.
import { BadRequestError, ConnectionError, errorOf } from "./errors.ts";
import { headStart, race } from "./race.ts";
import type { Winner } from "./race.ts";
import { newLink } from "./requests.ts";
import type { Link, LinkEvents, Starting } from "./requests.ts";
import type { Carrier, Dial, Session } from "./session.ts";
import { webSocketDial } from "./websocket.ts";
import type { WebSocketConstructor } from "./websocket.ts";
import { defaultLanes, hashBytes, webTransportDial } from "./webtransport.ts";
import type { WebTransportConstructor } from "./webtransport.ts";

export { Winner } from "./race.ts";
export type { Link, LinkEvents } from "./requests.ts";

/** Where a session is opened, and how. */
export interface OpenOptions {
  /** http(s)://HOST:PORT; without TLS there is only WebSocket. */
  readonly url: string;
  /** Where WebSocket goes; absent: url. */
  readonly webSocketURL?: string | undefined;
  /** In the order to try them, each once. */
  readonly carriers: readonly Carrier[];
  readonly certHashes?: CertHashes | (() => CertHashes | Promise<CertHashes>) | undefined;
  /** Absent: the platform's, if it has one. */
  readonly WebSocket?: WebSocketConstructor | undefined;
  /** Absent: the platform's, if it has one. */
  readonly WebTransport?: WebTransportConstructor | undefined;
  /** Remembers which carrier won. */
  readonly winner: Winner;
  /** All carriers at once: the path in use is dead. */
  readonly hurry?: boolean | undefined;
  /** Milliseconds, last measured; 0 or absent: not known. */
  readonly rtt?: number | undefined;
  /** Gives up; of no effect after Welcome. */
  readonly signal: AbortSignal;
  /** Milliseconds from Hello to Welcome; absent: 10,000. */
  readonly timeout?: number | undefined;
}

type CertHashes = readonly (string | ArrayBuffer | ArrayBufferView)[];

const sessionPath = "/v1/session";
const welcomeWithin = 10_000; // ms

/**
 * Opens a session and says Hello; lanes absent: as many streams of their own as the browser is
 * good for. Rejects with a ConnectionError if no carrier connects, with a BadRequestError if there
 * is none to try, with the signal's reason. What happens later is told to `events`: the link takes
 * subscriptions at once, publishes from Welcome on.
 */
export async function openLink(
  o: OpenOptions,
  hello: { readonly token: string; readonly agent: string; readonly lanes?: number | undefined },
  events: LinkEvents,
): Promise<Link> {
  const { WebSocket = globalThis.WebSocket, WebTransport = globalThis.WebTransport, certHashes, url } = o as {
    WebSocket?: WebSocketConstructor;
    WebTransport?: WebTransportConstructor;
  } & Omit<OpenOptions, "WebSocket" | "WebTransport">;
  const hashes = async () => ((typeof certHashes === "function" ? await certHashes() : certHashes) ?? []).map(hashBytes);
  const dials: Record<Carrier, [string, Dial | undefined]> = {
    websocket: [(o.webSocketURL || url).replace(/^http/, "ws"), WebSocket && webSocketDial(WebSocket)],
    webtransport: [url, url.startsWith("https") && WebTransport ? webTransportDial(WebTransport, hashes) : undefined],
  };
  const carriers = o.carriers.filter((carrier) => dials[carrier][1]);
  if (!carriers.length) {
    throw new BadRequestError(`no connection to ${url}: hand in a WebSocket, and allow it in carriers`);
  }
  const [{ link, start }, session] = await race(
    o.winner.order(carriers),
    o.hurry ? 0 : headStart(o.rtt),
    o.signal,
    async (carrier, signal): Promise<[Starting, Session]> => {
      const starting = newLink(events);
      const [base, dial] = dials[carrier];
      return [starting, await dial!(new URL(sessionPath, base).href, starting.handler, signal)];
    },
    ([, session]) => session.close(61, "another carrier was faster"),
  ).catch((e) => {
    throw e instanceof AggregateError ? new ConnectionError(`no connection to ${url}: ${e.errors.map((e: Error) => e.message).join("; ")}`, { cause: e }) : e;
  });
  if (link.end) {
    session.close(link.end.code, ""); // what came before Hello may be why
    throw errorOf(link.end, "connect to " + url);
  }
  o.winner.won(session.carrier);
  const lanes = hello.lanes ?? defaultLanes(globalThis.navigator?.userAgent);
  start(session, { ...hello, lanes: session.carrier === "websocket" ? 0 : lanes }, o.timeout ?? welcomeWithin, o.signal);
  return link;
}
