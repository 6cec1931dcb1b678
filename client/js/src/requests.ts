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
  FrameReader,
} from "./frames.ts";
import type { FrameSink } from "./frames.ts";
import type { LinkLike, LinkSubscription, Publication, SubscribeRequest, SubscriptionSink, Welcome } from "./link.ts";
import type { Position } from "./position.ts";
import type { Carrier, End, Session, SessionHandler } from "./session.ts";
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

const defaultCredit = 65_536; // bytes
const defaultUnanswered = 1 << 20; // bytes, where Welcome does not say
const publishOverhead = 128; // bytes
const writeSize = 65_536; // bytes: so many are not held back until the turn ends
const mostWaiting = 262_144; // bytes that the carrier has not taken; no further publish then
const sweepEvery = 5_000; // ms
const giveUpAfter = 25_000; // ms; the relay answers within 30 s
const mostCalls = 64; // Refresh and Ping without an answer

interface Open {
  answer(at: Position | undefined, end: End | undefined): void;
  readonly cost: number;
  readonly since: number;
}

interface Reader {
  readonly ref: number;
  readonly sink: SubscriptionSink;
  /** No credit is counted: its messages come by datagram. */
  readonly free: boolean;
  begun: boolean;
  /** Bytes that the relay may still send. */
  credit: number;
  /** Bytes granted in this turn. */
  granted: number;
}

interface Call {
  /** Undefined: a Pong answers. */
  readonly what: string | undefined;
  readonly since: number;
  resolve(ms: number): void;
  reject(err: Error): void;
}

interface Incoming {
  readonly frames: FrameReader;
  /** Of the last frame. */
  ref: number;
}

/** The end of a request, by this side's own judgement. */
export function endOf(code: number, detail: string): End {
  return { code, retryAfter: 0, deadline: 0, detail, alternatives: [], last: undefined };
}

/** The requests of one session. Every one is answered exactly once, also when the session ends. */
export class Link implements LinkLike {
  carrier!: Carrier;
  welcome: Welcome | undefined;
  end: End | undefined;
  onRoom: (() => void) | undefined;
  /** When something came last: performance.now(). */
  heard = 0;
  /** Takes what the carrier says. */
  readonly handler: SessionHandler;

  readonly #events: LinkEvents;
  #session: Session | undefined;
  #lanes = 0;
  #ref = 0; // the last used
  readonly #publishes = new Map<number, Open>(); // the oldest first
  readonly #readers = new Map<number, Reader>();
  readonly #calls = new Map<number, Call>();
  #unanswered = 0; // bytes
  #refused = false; // publish returned false: onRoom is due
  #out = new Writer();
  #flushing = false; // is due
  #granted: Reader[] = [];
  readonly #incoming = new Map<number, Incoming>();
  #reading: Incoming | undefined; // whose frames are handled
  readonly #sink: FrameSink;
  #patience: ReturnType<typeof setTimeout> | undefined; // for Welcome
  #sweeper: ReturnType<typeof setTimeout> | undefined; // runs while publishes wait
  #stopWaiting: (() => void) | undefined;

  constructor(events: LinkEvents) {
    this.#events = events;
    this.#sink = this.#frames();
    this.handler = {
      data: (stream, bytes) =>
        this.#guard(() => {
          this.#reading = this.#stream(stream);
          this.#reading.frames.push(bytes);
        }),
      ended: (stream, reset) => this.#guard(() => this.#ended(stream, reset)),
      datagram: (bytes) =>
        this.#guard(() => {
          const d = decodeDatagram(bytes);
          const r = d && this.#readers.get(d.ref);
          if (r?.begun) r.sink.message(d!.epoch, d!.seq, d!.body, true);
        }),
      drained: () => this.#room(),
      closed: (code, reason) => this.#finish(endOf(code || Code.link_lost, reason || "the connection was lost"), 0, ""),
    };
  }

  /** Says Hello on a session that has not ended. Without a Welcome within so many ms, or before the signal, the session ends. */
  start(session: Session, hello: Hello, within: number, signal: AbortSignal): void {
    this.#session = session;
    this.carrier = session.carrier;
    this.#lanes = hello.lanes;
    this.heard = performance.now();
    const giveUp = (detail: string) => this.#finish(endOf(Code.hello_timeout, detail), Code.cancelled, detail);
    const aborted = () => giveUp("given up before Welcome");
    this.#patience = setTimeout(giveUp, within, `no Welcome within ${within} ms`);
    signal.addEventListener("abort", aborted);
    this.#stopWaiting = () => {
      clearTimeout(this.#patience);
      signal.removeEventListener("abort", aborted);
    };
    appendHello(this.#out, hello);
    this.#flush();
    if (signal.aborted) aborted();
  }

  publish(p: Publication, answer: Open["answer"]): boolean {
    const cost = p.body.length + publishOverhead;
    const most = this.welcome?.limits.unanswered || defaultUnanswered;
    // One always passes, however large: the relay refuses it by its limits.
    if (
      this.end ||
      !this.welcome ||
      (this.#unanswered && this.#unanswered + cost > most) ||
      this.#session!.buffered + this.#out.length > mostWaiting
    ) {
      this.#refused = true;
      return false;
    }
    this.#unanswered += cost;
    this.#publishes.set(++this.#ref, { answer, cost, since: performance.now() });
    appendPublish(this.#out, this.#ref, p);
    this.#flushSoon();
    this.#sweeper ??= setTimeout(() => this.#sweep(), sweepEvery);
    return true;
  }

  subscribe(r: SubscribeRequest, sink: SubscriptionSink): LinkSubscription {
    if (this.end) {
      let open = true;
      const end = endOf(Code.link_lost, this.end.detail);
      queueMicrotask(() => open && sink.end(end));
      return { grant() {}, close: () => void (open = false) };
    }
    const ref = ++this.#ref;
    const reader: Reader = {
      ref,
      sink,
      free: r.datagram && this.carrier === "webtransport",
      begun: false,
      credit: r.credit || defaultCredit,
      granted: 0,
    };
    this.#readers.set(ref, reader);
    appendSubscribe(this.#out, ref, r);
    this.#flushSoon();
    return {
      grant: (bytes) => {
        if (!this.#readers.has(ref) || reader.free || bytes <= 0) return;
        if (!reader.granted) this.#granted.push(reader);
        reader.granted += bytes;
        reader.credit += bytes;
        this.#flushSoon();
      },
      close: () => {
        if (!this.#readers.delete(ref)) return;
        appendCancel(this.#out, ref);
        this.#flushSoon();
      },
    };
  }

  refresh(token: string): Promise<number> {
    return this.#call("the new token", (ref) => appendRefresh(this.#out, ref, token));
  }

  ping(): Promise<number> {
    return this.#call(undefined, (ref) => appendPing(this.#out, ref));
  }

  close(code: number, reason: string): void {
    this.#finish(endOf(code, reason), code, reason);
  }

  #call(what: string | undefined, append: (ref: number) => void): Promise<number> {
    const answer = new Promise<number>((resolve, reject) => {
      const no = this.end ?? (this.#calls.size < mostCalls ? undefined : endOf(Code.busy, "too many unanswered pings"));
      if (no) return reject(errorOf(no, what ?? "ping"));
      this.#calls.set(++this.#ref, { what, since: performance.now(), resolve, reject });
      append(this.#ref);
      this.#flushSoon();
    });
    answer.catch(() => {}); // it may be that nobody waits any more
    return answer;
  }

  // What was written in one turn leaves together.

  #flushSoon(): void {
    if (this.#out.length >= writeSize) this.#write();
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#flushing = false;
    for (const r of this.#granted) {
      if (this.#readers.has(r.ref)) appendCredit(this.#out, r.ref, r.granted);
      r.granted = 0;
    }
    this.#granted = [];
    this.#write();
  }

  #write(): void {
    if (!this.end && this.#out.length) this.#session!.write(this.#out.take());
  }

  /** Tells who was refused that publish may take something again. */
  #room(): void {
    if (!this.#refused || !this.welcome) return;
    this.#refused = false;
    queueMicrotask(() => this.end || this.onRoom?.());
  }

  #sweep(): void {
    const late = performance.now() - giveUpAfter;
    for (const [ref, p] of this.#publishes) {
      if (p.since > late) break;
      this.#settle(ref, p);
      p.answer(undefined, endOf(Code.unknown, `no answer within ${giveUpAfter / 1000} s`));
    }
    this.#sweeper = this.#publishes.size ? setTimeout(() => this.#sweep(), sweepEvery) : undefined;
  }

  #settle(ref: number, p: Open): void {
    this.#publishes.delete(ref);
    this.#unanswered -= p.cost;
    this.#room();
  }

  // What comes down.

  /** Runs what handles something of the relay; whatever it throws ends the session. */
  #guard(fn: () => void): void {
    if (this.end) return;
    this.heard = performance.now();
    try {
      fn();
    } catch (e) {
      const code = e instanceof ProtocolViolation ? e.code : Code.internal;
      const detail = e instanceof Error ? e.message : String(e);
      this.#finish(endOf(code, detail), code, detail);
    }
  }

  #stream(id: number): Incoming {
    let s = this.#incoming.get(id);
    if (!s) {
      // The end of a stream may be overtaken by the beginnings of others.
      if (id && this.#incoming.size > 2 * this.#lanes) throw new ProtocolViolation(`more than ${this.#lanes} streams`);
      s = { frames: new FrameReader(this.#sink), ref: 0 };
      this.#incoming.set(id, s);
    }
    return s;
  }

  #ended(id: number, reset: number | undefined): void {
    const s = this.#incoming.get(id);
    this.#incoming.delete(id);
    if (reset === undefined) s?.frames.finish();
    const why = "the relay ended the stream";
    if (!id) return this.#finish(endOf(reset || Code.link_lost, why), Code.cancelled, "");
    const r = this.#readers.get(s?.ref ?? 0);
    if (!r) return; // its End came
    this.#readers.delete(r.ref);
    r.sink.end(endOf(reset || Code.link_lost, why));
  }

  #frames(): FrameSink {
    const publishes = this.#publishes;
    const readers = this.#readers;
    const calls = this.#calls;
    /** Something for ref came; false: the session ended while the bytes before it were handled. */
    const heard = (ref: number): boolean => {
      const s = this.#reading!;
      s.ref = ref;
      // On a stream of its own, OK may overtake Welcome.
      if (!this.welcome && s === this.#incoming.get(0)) out("an answer before Welcome");
      if (ref > this.#ref || publishes.has(ref) || calls.has(ref)) out("ref " + ref);
      return !this.end;
    };
    return {
      welcome: (w) => {
        if (this.end) return;
        if (this.welcome || this.#reading !== this.#incoming.get(0)) out("Welcome");
        this.welcome = w;
        this.#stopWaiting?.();
        this.#events.welcome(w);
        this.#room();
      },
      goAway: (g) => {
        if (!this.welcome) out("GoAway before Welcome");
        if (!this.end) this.#events.goAway(g);
      },
      ok: (ref, at, head, tokenExpires) => {
        const p = publishes.get(ref);
        const c = calls.get(ref);
        if (this.end) return;
        if (p) {
          this.#settle(ref, p);
          p.answer(at, undefined);
        } else if (c?.what) {
          calls.delete(ref);
          c.resolve(tokenExpires);
        } else if (heard(ref)) {
          const r = readers.get(ref);
          if (!r) return;
          if (r.begun) out("a second OK");
          r.begun = true;
          r.sink.ok(at, head);
        }
      },
      end: (ref, e) => {
        if (this.end) return;
        if (!ref) return this.#finish(e.code ? e : { ...e, code: Code.link_lost }, Code.done, "");
        const p = publishes.get(ref);
        const c = calls.get(ref);
        if (!e.code && (p || c)) out("End without a code");
        if (p) {
          this.#settle(ref, p);
          p.answer(undefined, e);
        } else if (c?.what) {
          calls.delete(ref);
          c.reject(errorOf(e, c.what));
        } else if (heard(ref)) {
          const r = readers.get(ref);
          if (!r) return;
          if (!e.deadline) readers.delete(ref);
          else if (!r.begun) out("an announcement before OK");
          r.sink.end(e);
        }
      },
      message: (ref, epoch, seq, body) => {
        if (!heard(ref)) return;
        const r = readers.get(ref);
        if (!r) return; // it was closed here
        if (!r.begun) out("a message before OK");
        if (!r.free) {
          if (r.credit <= 0) out("a message beyond the credit of ref " + ref);
          r.credit -= body.length;
        }
        r.sink.message(epoch, seq, body, r.free);
      },
      gap: (ref, after, next, reason) => {
        if (heard(ref)) begun(ref)?.gap(after, next, reason);
      },
      status: (ref, state) => {
        if (heard(ref)) begun(ref)?.status(state);
      },
      pong: (ref) => {
        const c = calls.get(ref);
        if (!c) return void heard(ref);
        if (c.what) out("a pong");
        calls.delete(ref);
        c.resolve(performance.now() - c.since);
      },
    };
    function begun(ref: number): SubscriptionSink | undefined {
      const r = readers.get(ref);
      if (r && !r.begun) out("an answer before OK");
      return r?.sink;
    }
    function out(what: string): never {
      throw new ProtocolViolation(what + " is out of place");
    }
  }

  /** Ends everything, once; the carrier's session with the code and reason given. */
  #finish(end: End, code: number, reason: string): void {
    if (this.end) return;
    this.end = end;
    this.#stopWaiting?.();
    clearTimeout(this.#sweeper);
    const publishes = [...this.#publishes.values()];
    const calls = [...this.#calls.values()];
    this.#publishes.clear();
    this.#calls.clear();
    this.#incoming.clear();
    this.#out = new Writer();
    this.#session?.close(code, reason);
    // Each on its own, so that one that throws takes nothing from the others.
    for (const p of publishes) queueMicrotask(() => p.answer(undefined, endOf(Code.unknown, "no answer before the session ended: " + end.detail)));
    for (const c of calls) c.reject(errorOf(end, c.what ?? "ping"));
    queueMicrotask(() => {
      if (this.#session) this.#events.closed(end); // else nobody was given the link
      for (const r of this.#readers.values()) queueMicrotask(() => this.#readers.delete(r.ref) && r.sink.end(endOf(Code.link_lost, end.detail)));
    });
  }
}
