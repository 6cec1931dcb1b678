// A session that has said Hello: the requests that are open on it, and what answers them.
import { Code, ProtocolViolation } from "./codes.ts";
import { errorOf } from "./errors.ts";
import {
  appendCancel,
  appendCredit,
  appendHello,
  appendPing,
  appendPublish,
  appendRefresh,
  appendSubscribe,
  decodeDatagram,
  frameReader,
} from "./frames.ts";
import type { FrameSink } from "./frames.ts";
import type { LinkLike, SubscriptionSink, Welcome } from "./link.ts";
import type { Position } from "./position.ts";
import type { End, Session, SessionHandler } from "./session.ts";
import type { Splitter } from "./splitter.ts";
import { Writer } from "./varint.ts";

/** Who is told of a session as a whole; nothing is called from inside a call of the link. */
export interface LinkEvents {
  welcome(w: Welcome): void;
  /** The session ends at deadline, in ms from now. */
  goAway(g: { reason: number; deadline: number; alternatives: readonly string[] }): void;
  /** The session is over, once; `link.end` says the same. Publishes have been answered, subscriptions are told after. */
  closed(end: End): void;
}

/** What this side says of itself. */
export interface Hello {
  readonly token: string;
  /** Name and version of the client, at most 128 bytes. */
  readonly agent: string;
  /** Streams of their own that subscriptions may have at a time. */
  readonly lanes: number;
}

/** What is asked on one session: every request is answered exactly once, also when the session ends. */
export interface Link extends LinkLike {
  /** When something came last: performance.now(). */
  readonly heard: number;
}

/** A link to be: events tell of it once it has started. */
export interface Starting {
  readonly link: Link;
  /** Takes what the carrier says. */
  readonly handler: SessionHandler;
  /** Says Hello on a session that has not ended. Without a Welcome within so many ms, or before the signal, the session ends. */
  start(session: Session, hello: Hello, within: number, signal: AbortSignal): void;
}

const defaultCredit = 65_536; // bytes
const defaultUnanswered = 1 << 20; // bytes, where Welcome does not say
const publishOverhead = 128; // bytes
const writeSize = 65_536; // bytes: so many are not held back until the turn ends
const mostWaiting = 262_144; // bytes that the carrier has not taken; no further publish then
const sweepEvery = 5_000; // ms
const giveUpAfter = 25_000; // ms; the relay answers within 30 s
const mostCalls = 64; // Refresh and Ping without an answer

/** A request with one answer. */
interface Request {
  /** Of a publish, bytes; 0: Refresh or Ping. */
  readonly cost: number;
  /** performance.now() */
  readonly since: number;
  /** It is answered by Pong. */
  readonly ping?: boolean;
  /** ms: until the new token expires. */
  answer(at: Position | undefined, end: End | undefined, ms?: number): void;
}

interface Reader {
  readonly sink: SubscriptionSink;
  /** No credit is counted: its messages come by datagram. */
  readonly free: boolean;
  begun: boolean;
  /** Bytes that the relay may still send. */
  credit: number;
  /** That its last frame came on. */
  stream: number;
}

/** The end of a request, by this side's own judgement. */
function endOf(code: number, detail: string): End {
  return { code, retryAfter: 0, deadline: 0, detail, alternatives: [], last: undefined };
}

function out(ref: number, what = "order"): never {
  throw new ProtocolViolation(`malformed ${what} of ref ${ref}`);
}

export function newLink(events: LinkEvents): Starting {
  let session: Session | undefined;
  let lanes = 0;
  let last = 0; // ref
  const requests = new Map<number, Request>(); // the oldest first
  const readers = new Map<number, Reader>();
  let unanswered = 0; // bytes
  let refused = false; // publish returned false: onRoom is due
  const written = new Writer();
  let flushing = false; // is due
  const granted = new Map<number, number>(); // bytes by ref, in this turn
  const streams = new Map<number, Splitter>();
  let stream = 0; // whose frames are handled
  let timer: ReturnType<typeof setTimeout> | undefined; // runs until Welcome, and while publishes wait

  // What was written in one turn leaves together.

  const write = () => {
    if (!link.end && written.length) session!.write(written.take());
  };
  const flush = () => {
    flushing = false;
    for (const [ref, bytes] of granted) if (readers.has(ref)) appendCredit(written, ref, bytes);
    granted.clear();
    write();
  };
  const flushSoon = () => {
    if (written.length >= writeSize) write();
    if (!flushing) queueMicrotask(flush);
    flushing = true;
  };
  const send = <What>(append: (w: Writer, ref: number, what: What) => void, ref: number, what: What) => {
    append(written, ref, what);
    flushSoon();
  };

  /** Tells who was refused that publish may take something again. */
  const room = () => {
    if (!refused) return;
    refused = false;
    queueMicrotask(() => link.end || link.onRoom?.());
  };

  const settle = (ref: number, r: Request) => {
    requests.delete(ref);
    unanswered -= r.cost;
    room();
  };

  const sweep = () => {
    timer = undefined;
    for (const [ref, r] of requests) {
      if (!r.cost) continue;
      if (performance.now() - r.since < giveUpAfter) {
        timer = setTimeout(sweep, sweepEvery);
        break;
      }
      settle(ref, r);
      r.answer(undefined, endOf(Code.unknown, `no answer within ${giveUpAfter / 1000} s`));
    }
  };

  const call = (name: string, append: (w: Writer, ref: number, what: string) => void, what: string) => {
    const answer = new Promise<number>((resolve, reject) => {
      const since = performance.now();
      const waiting = [...requests.values()].filter((r) => !r.cost).length;
      const refuse = (end: End) => reject(errorOf(end, name));
      if (link.end) return refuse(link.end);
      if (waiting >= mostCalls) return refuse(endOf(Code.busy, "too many"));
      requests.set(++last, {
        cost: 0,
        since,
        ping: append === appendPing,
        answer: (_, end, ms = performance.now() - since) => (end ? refuse(end) : resolve(ms)),
      });
      send(append, last, what);
    });
    answer.catch(() => {}); // it may be that nobody waits any more
    return answer;
  };

  /** Ends a subscription that has not ended. */
  const drop = (ref: number, code: number, detail: string) => {
    const r = readers.get(ref);
    readers.delete(ref);
    r?.sink.end(endOf(code, detail));
  };

  /** Ends a subscription after the link. */
  const lose = (ref: number) => queueMicrotask(() => drop(ref, Code.link_lost, link.end!.detail));

  /** Ends everything, once; the carrier's session with the code given. */
  const finish = (end: End, code = end.code) => {
    if (link.end) return;
    link.end = end;
    clearTimeout(timer);
    session?.close(code, end.detail);
    // Each on its own, so that one that throws takes nothing from the others.
    const unknown = endOf(Code.unknown, "the session ended: " + end.detail);
    for (const r of requests.values()) queueMicrotask(() => r.answer(undefined, r.cost ? unknown : end));
    requests.clear();
    if (session) queueMicrotask(() => events.closed(end)); // else nobody was given the link
    for (const ref of readers.keys()) lose(ref);
  };

  /** What handles something of the relay; whatever it throws ends the session. */
  const guarded =
    <Args extends unknown[]>(fn: (...args: Args) => void) =>
    (...args: Args) => {
      if (link.end) return;
      link.heard = performance.now();
      try {
        fn(...args);
      } catch (e) {
        finish(endOf(e instanceof ProtocolViolation ? e.code : Code.internal, (e as Error).message));
      }
    };

  /** A frame for the subscription ref, or for one that was closed here; `begins`: it may be the first. */
  const reader = (ref: number, begins: boolean) => {
    // On a stream of its own, OK may overtake Welcome.
    if ((!link.welcome && !stream) || ref > last || requests.has(ref)) out(ref);
    const r = link.end ? undefined : readers.get(ref);
    if (!r) return;
    r.stream = stream;
    if (!r.begun && !begins) out(ref);
    return r;
  };

  /** An answer of OK, of End, or of Pong. */
  const answer = (ref: number, at: Position | undefined, end: End | undefined, pong: boolean, ms?: number) => {
    const r = requests.get(ref);
    if (!r) return false;
    if (!r.ping === pong || (end && !end.code)) out(ref);
    settle(ref, r);
    r.answer(at, end, ms);
    return true;
  };

  const sink: FrameSink = {
    welcome(w) {
      if (link.end) return;
      if (link.welcome || stream) out(0);
      link.welcome = w;
      clearTimeout(timer);
      timer = undefined;
      events.welcome(w);
      room();
    },
    goAway(g) {
      if (!link.welcome) out(0);
      if (!link.end) events.goAway(g);
    },
    ok(ref, at, head, tokenExpires) {
      if (answer(ref, at, undefined, false, tokenExpires)) return;
      const r = reader(ref, true);
      if (!r) return;
      if (r.begun) out(ref);
      r.begun = true;
      r.sink.ok(at, head);
    },
    end(ref, e) {
      if (!ref) return finish(e.code ? e : { ...e, code: Code.link_lost }, Code.done);
      if (answer(ref, undefined, e, false)) return;
      const r = reader(ref, !e.deadline);
      if (!r) return;
      if (!e.deadline) readers.delete(ref);
      r.sink.end(e);
    },
    message(ref, epoch, seq, body) {
      const r = reader(ref, false);
      if (!r) return;
      if (!r.free && r.credit <= 0) out(ref, "credit");
      r.credit -= body.length;
      r.sink.message(epoch, seq, body, r.free);
    },
    gap(ref, after, next, reason) {
      reader(ref, false)?.sink.gap(after, next, reason);
    },
    status(ref, state) {
      reader(ref, false)?.sink.status(state);
    },
    pong(ref) {
      answer(ref, undefined, undefined, true) || reader(ref, true);
    },
  };

  const handler: SessionHandler = {
    data: guarded((id, bytes) => {
      let frames = streams.get(id);
      if (!frames) {
        // The end of a stream may be overtaken by the beginnings of others.
        if (id && streams.size > 2 * lanes) out(0, "streams");
        streams.set(id, (frames = frameReader(sink)));
      }
      stream = id;
      frames.push(bytes);
    }),
    ended: guarded((id, reset) => {
      const frames = streams.get(id);
      streams.delete(id);
      if (reset === undefined) frames?.finish();
      const code = reset || Code.link_lost;
      const detail = "the stream ended";
      if (!id) return finish(endOf(code, detail), Code.cancelled);
      for (const [ref, r] of readers) if (r.stream === id) drop(ref, code, detail);
    }),
    datagram: guarded((bytes) => {
      const d = decodeDatagram(bytes);
      const r = d && readers.get(d.ref);
      if (r?.begun) r.sink.message(d!.epoch, d!.seq, d!.body, true);
    }),
    drained: room,
    closed(code, reason) {
      finish(endOf(code || Code.link_lost, reason || "the connection was lost"));
    },
  };

  // It has its carrier once it starts; what is not here is undefined until it comes.
  const link = {
    heard: 0,

    publish(p, answer) {
      const cost = p.body.length + publishOverhead;
      // One always passes, however large: the relay refuses it by its limits.
      if (
        link.end ||
        !link.welcome ||
        (unanswered && unanswered + cost > (link.welcome.limits.unanswered || defaultUnanswered)) ||
        session!.buffered + written.length > mostWaiting
      ) {
        refused = true;
        return false;
      }
      unanswered += cost;
      requests.set(++last, { cost, since: performance.now(), answer });
      send(appendPublish, last, p);
      timer ??= setTimeout(sweep, sweepEvery);
      return true;
    },

    subscribe(r, sink) {
      const ref = ++last;
      const reader = {
        sink,
        free: r.datagram && link.carrier === "webtransport",
        begun: false,
        credit: r.credit || defaultCredit,
        stream: 0,
      };
      readers.set(ref, reader);
      if (link.end) lose(ref);
      send(appendSubscribe, ref, r);
      return {
        grant(bytes) {
          if (reader.free || bytes <= 0) return;
          granted.set(ref, (granted.get(ref) ?? 0) + bytes);
          reader.credit += bytes;
          flushSoon();
        },
        close() {
          if (readers.delete(ref)) send(appendCancel, ref, undefined);
        },
      };
    },

    refresh: (token) => call("the new token", appendRefresh, token),
    ping: () => call("ping", appendPing, ""),
    close: (code, reason) => finish(endOf(code, reason)),
  } as { -readonly [K in keyof Link]: Link[K] };

  return {
    link,
    handler,
    start(s, hello, within, signal) {
      session = s;
      link.carrier = s.carrier;
      lanes = hello.lanes;
      const giveUp = (detail: string) => link.welcome || finish(endOf(Code.hello_timeout, detail), Code.cancelled);
      const aborted = () => giveUp("given up");
      timer = setTimeout(giveUp, within, `no Welcome within ${within} ms`);
      signal.addEventListener("abort", aborted);
      appendHello(written, hello);
      flush();
      if (signal.aborted) aborted();
    },
  };
}
