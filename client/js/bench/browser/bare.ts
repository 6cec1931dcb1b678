// The baseline of receiving: the platform's WebTransport or WebSocket alone, in the page that is
// measured. It asks for the same messages with a credit that never ends, cuts frames as they come,
// and reads position and payload of each. It checks nothing, resumes nothing, and queues nothing.

export interface BareReading {
  readonly url: string;
  readonly token: string;
  readonly hashes: readonly string[];
  readonly carrier: "webtransport" | "websocket";
  readonly channels: readonly string[];
  /** Streams of their own, as the SDK asks for. */
  readonly lanes: number;
  readonly count: number;
}

const utf8 = new TextEncoder();

function varint(v: number): number[] {
  const list = [];
  for (; v > 127; v = Math.floor(v / 128)) list.push((v % 128) | 128);
  return [...list, v];
}
const number = (field: number, v: number) => [field * 8, ...varint(v)];
function text(field: number, s: string): number[] {
  const bytes = utf8.encode(s);
  return [field * 8 + 2, ...varint(bytes.length), ...bytes];
}
const frame = (type: number, ref: number, body: number[]) => [type, ...varint(ref), ...varint(body.length), ...body];

/** Hello, and a subscription from the first message on for each channel. */
function requests(r: BareReading): Uint8Array<ArrayBuffer> {
  const list = frame(2, 0, [...text(4, r.token), ...number(5, r.lanes)]);
  r.channels.forEach((c, i) =>
    list.push(...frame(6, i + 1, [...text(1, c), ...number(2, 4), ...number(10, 1), ...number(12, 2 ** 50)])));
  return new Uint8Array(list);
}

/** Milliseconds from the request to the last of `count` messages. */
export async function bare(r: BareReading): Promise<number> {
  let got = 0;
  let seen = 0; // so that nothing is optimized away
  let reached = (_: number) => {};
  const last = new Promise<number>((resolve) => (reached = resolve));

  /** Takes the pieces of one stream. */
  function reader(): (piece: Uint8Array) => void {
    let rest = new Uint8Array(0);
    return (piece) => {
      let b = piece;
      if (rest.length) {
        b = new Uint8Array(rest.length + piece.length);
        b.set(rest);
        b.set(piece, rest.length);
      }
      let at = 0;
      const next = () => {
        let v = 0;
        for (let scale = 1; ; scale *= 128) {
          const x = b[at++]!; // beyond the end: NaN below
          v += (x & 127) * scale;
          if (!(x > 127)) return at > b.length ? NaN : v;
        }
      };
      for (let from = 0; ; from = at) {
        const type = next();
        next();
        const end = next() + at;
        if (!(end <= b.length)) {
          rest = b.slice(from);
          return;
        }
        if (type === 0x24) throw new Error(`ended: ${new TextDecoder().decode(b.subarray(at, end))}`);
        if (type === 0x26) {
          const position = { epoch: next(), seq: next() };
          at++; // the payload's tag
          const size = next();
          seen += b.subarray(at, at + size).length + position.seq;
          if (++got === r.count) reached(performance.now());
        }
        at = end;
      }
    };
  }

  async function each<T>(stream: ReadableStream<T>, take: (value: T) => void): Promise<void> {
    for (const from = stream.getReader(); ; ) {
      const { done, value } = await from.read();
      if (done) return;
      take(value);
    }
  }

  let close: () => void;
  let began: number;
  if (r.carrier === "websocket") {
    const ws = new WebSocket(r.url.replace("http", "ws") + "/v1/session", "meridian.v1");
    ws.binaryType = "arraybuffer";
    await new Promise((resolve) => (ws.onopen = resolve));
    const take = reader();
    ws.onmessage = ({ data }) => take(new Uint8Array(data));
    began = performance.now();
    ws.send(requests(r));
    close = () => ws.close();
  } else {
    const wt = new WebTransport(r.url + "/v1/session", {
      serverCertificateHashes: r.hashes.map((h) => ({
        algorithm: "sha-256", value: Uint8Array.from(h.match(/../g)!, (x) => parseInt(x, 16)),
      })),
    });
    await wt.ready;
    const stream = await wt.createBidirectionalStream();
    each(stream.readable, reader()).catch(() => {});
    each(wt.incomingUnidirectionalStreams as ReadableStream<ReadableStream<Uint8Array>>, (s) => void each(s, reader()).catch(() => {})).catch(() => {});
    began = performance.now();
    await stream.writable.getWriter().write(requests(r));
    close = () => wt.close();
  }
  const took = (await last) - began;
  close();
  if (!seen) throw new Error("nothing was read");
  return took;
}
