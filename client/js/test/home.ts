// A model of a channel's home: what docs/protocol.md, "Publishing", says of producers.
import { Code } from "../src/codes.ts";
import type { Publication } from "../src/link.ts";
import type { Position } from "../src/position.ts";

const remembered = 1024;
const maxAge = 300_000;
const ttl = 600_000;

interface Producer {
  epoch: number;
  last: number;
  used: number;
  /** What became of a number; seq 0: used up without a message. */
  entries: Map<number, { at: Position; payload: string }>;
}

/** Answers of a home: a position, or a code. */
export type HomeAnswer = { at?: Position; code: number };

/** One channel's home. Time is in milliseconds. */
export class Home {
  /** What stands, by position. */
  readonly log = new Map<string, string>();
  #epoch = 1;
  #seq = 0;
  readonly #producers = new Map<string, Producer>();

  publish(subject: string, p: Publication, now: number): HomeAnswer {
    const id = subject + "/" + Buffer.from(p.producer).toString("hex");
    let producer = this.#producers.get(id);
    if (producer && now - producer.used >= ttl) {
      this.#producers.delete(id);
      producer = undefined;
    }
    const payload = Buffer.from(p.body).toString();
    if (!producer) {
      if (p.age > maxAge) return { code: Code.too_old };
      if (p.n !== 1) return { code: Code.out_of_order };
      producer = { epoch: this.#epoch, last: 0, used: now, entries: new Map() };
      this.#producers.set(id, producer);
    } else if (p.n <= producer.last) {
      const entry = producer.entries.get(p.n);
      if (!entry) return { code: Code.too_old };
      producer.used = now;
      if (!entry.at.seq) return { code: Code.voided };
      if (!p.void && entry.payload !== payload) return { code: Code.conflict };
      return { at: entry.at, code: 0 };
    } else if (producer.epoch !== this.#epoch) return { code: Code.too_old };
    else if (p.n !== producer.last + 1) return { code: Code.out_of_order };
    else if (p.age > maxAge && !p.void) return { code: Code.too_old };

    const at = { epoch: this.#epoch, seq: p.void ? 0 : ++this.#seq };
    producer.last = p.n;
    producer.used = now;
    producer.entries.set(p.n, { at, payload });
    producer.entries.delete(p.n - remembered);
    if (p.void) return { code: Code.voided };
    this.log.set(`${at.epoch}:${at.seq}`, payload);
    return { at, code: 0 };
  }

  /** A new epoch: producers take no new numbers. */
  raise(): void {
    this.#epoch++;
    this.#seq = 0;
  }
}
