// Sessions over WebTransport: the first bidirectional stream carries the requests; every stream
// that the relay opens is read as soon as it comes.
import { closing, quietly, unlessAborted } from "./closing.ts";
import type { Dial, Session, SessionHandler } from "./session.ts";

/** What is needed of a WebTransport: the browser's. */
export interface WebTransportLike {
  readonly ready: Promise<unknown>;
  readonly closed: Promise<{ closeCode?: number; reason?: string } | undefined>;
  readonly datagrams: { readonly readable: ReadableStream<Uint8Array>; incomingHighWaterMark?: number };
  readonly incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>;
  readonly incomingBidirectionalStreams: ReadableStream<BidirectionalStream>;
  createBidirectionalStream(): Promise<BidirectionalStream>;
  close(info?: { closeCode?: number; reason?: string }): void;
}

interface BidirectionalStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

export type WebTransportConstructor = new (
  url: string,
  options?: { serverCertificateHashes?: { algorithm: string; value: Uint8Array<ArrayBuffer> }[] },
) => WebTransportLike;

// How many datagrams wait for their reader; what comes beyond is lost, as datagrams are.
const datagramsWaiting = 256;

// Where streams break because the session does, its own end follows; it is waited for so long.
const endWithin = 1000; // ms

/**
 * Returns a Dial that uses the constructor. certHashes is asked each time: SHA-256 of the
 * certificates to trust; none: the platform knows whom.
 */
export function webTransportDial(
  WebTransport: WebTransportConstructor,
  certHashes: () => Promise<Uint8Array<ArrayBuffer>[]>,
): Dial {
  return async (url, handler, signal) => {
    const hashes = await certHashes();
    signal.throwIfAborted();
    const transport = new WebTransport(
      url,
      hashes.length ? { serverCertificateHashes: hashes.map((value) => ({ algorithm: "sha-256", value })) } : {},
    );
    const ended = transport.closed.then((i) => {
      throw new Error(i?.reason || "it did not open");
    });
    const opened = transport.ready.then(() => transport.createBidirectionalStream());
    const stream = await unlessAborted(signal, Promise.race([opened, ended]), () => transport.close());
    return sessionOn(transport, stream, handler);
  };
}

function sessionOn(transport: WebTransportLike, stream: BidirectionalStream, handler: SessionHandler): Session {
  const c = closing(handler, (closeCode, reason) => transport.close({ closeCode, reason }));
  const writer = stream.writable.getWriter();
  let buffered = 0;
  let ended = false; // stream 0, either half
  let streams = 0;

  const end = (id: number, code: number | undefined) => {
    if (c.over || (!id && ended)) return;
    ended ||= !id;
    handler.ended(id, code);
  };
  /** A stream failed: reset or stopped by the relay, or because the session ended, which speaks for itself; Firefox has 0 for that. */
  const failed = (id: number, e: unknown) => {
    const { source, streamErrorCode: code } = Object(e) as { source?: string; streamErrorCode?: number | null };
    if (code && source !== "session") end(id, code);
    else setTimeout(end, endWithin, id, 0);
  };
  const read = (readable: ReadableStream<Uint8Array>, id: number) =>
    each(readable, (bytes) => c.over || handler.data(id, bytes)).then(
      () => end(id, undefined),
      (e) => failed(id, e),
    );

  transport.closed.then(
    (i) => c.ended(i && i.closeCode! < 1000 ? i.closeCode : undefined, i?.reason ?? ""),
    (e) => c.ended(undefined, String(e)),
  );
  read(stream.readable, 0);
  writer.closed.catch((e) => failed(0, e)); // stopped
  quietly(() => each(transport.incomingUnidirectionalStreams, (readable) => void read(readable, ++streams)));
  quietly(() =>
    each(transport.incomingBidirectionalStreams, ({ readable, writable }) => {
      quietly(() => readable.cancel());
      quietly(() => writable.abort());
    }),
  );
  quietly(() => (transport.datagrams.incomingHighWaterMark = datagramsWaiting));
  quietly(() => each(transport.datagrams.readable, (bytes) => c.over || handler.datagram(bytes)));

  return {
    carrier: "webtransport",
    write(bytes) {
      if (c.over) return;
      buffered += bytes.length;
      const taken = () => {
        buffered -= bytes.length;
        if (!buffered && !c.over) handler.drained();
      };
      writer.write(bytes).then(taken, taken);
    },
    get buffered() {
      return buffered;
    },
    close: c.close,
  };
}

/** Reads a stream to its end; rejects with what broke it. */
async function each<T>(readable: ReadableStream<T>, take: (value: T) => unknown): Promise<void> {
  const reader = readable.getReader();
  for (let next; !(next = await reader.read()).done; ) take(next.value);
}

/** A SHA-256 hash of a certificate as bytes, from them or from their hexadecimal digits; throws if it is not 32 bytes. */
export function hashBytes(h: string | ArrayBuffer | ArrayBufferView): Uint8Array<ArrayBuffer> {
  const { buffer = h, byteOffset, byteLength } = h as ArrayBufferView;
  const bytes =
    typeof h === "string"
      ? Uint8Array.from(h.match(/[\da-f]{2}/gi) ?? [], (x) => parseInt(x, 16))
      : new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  if (bytes.length !== 32) throw new Error(`certificate's hash of ${bytes.length} bytes: give 32 bytes`);
  return bytes;
}

/**
 * How many streams of their own subscriptions get unless the application says otherwise. Chromium
 * allows a server 100, of which HTTP/3 takes three. Firefox before 153 delivers two and then no
 * more; Safari delivers no further stream after some thousands of a session. Those, and what
 * nobody has tried, get everything on the first stream.
 */
export function defaultLanes(agent = ""): number {
  return /Chrom/.test(agent) || +(/Firefox\/(\d+)/.exec(agent)?.[1] ?? 0) > 152 ? 96 : 0;
}
