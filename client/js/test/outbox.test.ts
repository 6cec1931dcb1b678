import assert from "node:assert/strict";
import test from "node:test";
import type { Moment } from "../src/clock.ts";
import { Code } from "../src/codes.ts";
import { ConflictError, ForbiddenError, MeridianError, TooLargeError, UnknownOutcomeError } from "../src/errors.ts";
import type { Publication } from "../src/link.ts";
import { Letter, maxAge, maxRenewals, outbox, restAfter, window } from "../src/outbox.ts";
import type { Outbox } from "../src/outbox.ts";
import type { Position } from "../src/position.ts";
import type { End } from "../src/session.ts";

const closed = new Error("closed");
const gaveUp = new Error("gave up");

function end(code: number, retryAfter = 0): End {
  return { code, retryAfter, deadline: 0, detail: "", alternatives: [], last: undefined };
}

/** An outbox with a clock, and what its callers were told. */
class Bench {
  now: Moment = { wall: 1_700_000_000_000, steady: 1000 };
  told = new Map<Letter, { at?: Position | undefined; error?: unknown }>();
  ended = 0;
  #drawn = 0;
  o: Outbox;

  constructor(producer?: Uint8Array) {
    const draw = () => new Uint8Array(16).fill(++this.#drawn);
    this.o = outbox("demo:x", draw, producer, this.now, () => this.ended++);
  }

  pass(ms: number): void {
    this.now = { wall: this.now.wall + ms, steady: this.now.steady + ms };
  }

  push(n: number): Letter[] {
    return Array.from({ length: n }, () => {
      const l: Letter = new Letter(new Uint8Array(1), (at, error) => {
        assert.ok(!this.told.has(l), "told twice");
        this.told.set(l, { at, error });
      });
      this.o.push(l, this.now);
      return l;
    });
  }

  /** What leaves now. */
  send(): Publication[] {
    const sent: Publication[] = [];
    while (this.o.next(this.now, (p) => sent.push(p) > 0));
    return sent;
  }

  wantNumbers(producer: number, ...numbers: number[]): Publication[] {
    const sent = this.send();
    assert.deepEqual(
      sent.map((p) => [p.producer[0], p.n]),
      numbers.map((n) => [producer, n]),
    );
    return sent;
  }

  ok(l: Letter | undefined, seq: number): void {
    this.o.answer(l!, l!.flying!, { epoch: 1, seq }, undefined, this.now, 0.5);
  }

  refuse(l: Letter | undefined, code: number, retryAfter = 0): void {
    this.o.answer(l!, l!.flying!, undefined, end(code, retryAfter), this.now, 0);
  }

  /** What l's caller was told, which must be an error of the class. */
  error(l: Letter | undefined, of: typeof MeridianError): MeridianError {
    const got = this.told.get(l!)?.error;
    assert.ok(got instanceof of, `told ${got}; want ${of.name}`);
    return got;
  }

  /** l's caller was told that the message may stand. */
  unknown(l: Letter | undefined, cause?: number): void {
    const got = this.error(l, UnknownOutcomeError);
    if (cause !== undefined) assert.equal((got.cause as MeridianError).code, cause);
  }
}

test("goes back after a retryable refusal, once everything in flight was answered", () => {
  const b = new Bench();
  const l = b.push(3);
  b.wantNumbers(1, 1, 2, 3);
  b.ok(l[0], 1);
  b.refuse(l[1], Code.busy, 1000);
  b.pass(2000);
  b.wantNumbers(1);
  b.refuse(l[2], Code.out_of_order);
  b.pass(1000);
  b.wantNumbers(1, 2, 3);
});

test("waits as long as the refusal says", () => {
  const b = new Bench();
  const l = b.push(1);
  b.send();
  b.refuse(l[0], Code.publish_rate, 1000);
  b.wantNumbers(1);
  assert.equal(b.o.wakeAt(), b.now.steady + 1000);
  b.pass(1000);
  b.wantNumbers(1, 1);
});

test("a refused number is used up by a void", () => {
  const b = new Bench();
  const l = b.push(2);
  b.send();
  b.refuse(l[0], Code.too_large);
  const error = b.error(l[0], TooLargeError); // at once
  assert.match(error.message, /demo:x/);
  b.refuse(l[1], Code.out_of_order);
  b.pass(60_000);
  const sent = b.wantNumbers(1, 1, 2);
  assert.deepEqual(
    sent.map((p) => [p.void, p.body.length]),
    [
      [true, 0],
      [false, 1],
    ],
  );
  b.refuse(l[0], Code.voided);
  b.ok(l[1], 1);
  assert.ok(b.o.idle());
  assert.equal(b.ended, 2);
});

for (const applied of [true, false]) {
  test(`a refusal after a loss waits for the answer to the void: applied ${applied}`, () => {
    const b = new Bench();
    const l = b.push(1);
    b.send();
    b.o.lost();
    b.send();
    b.refuse(l[0], Code.forbidden);
    assert.equal(b.told.size, 0, "told before the void's answer, though the first attempt may have been applied");
    assert.equal(b.send()[0]?.void, true);
    if (applied) {
      b.ok(l[0], 7);
      assert.equal(b.told.get(l[0]!)?.at?.seq, 7);
    } else {
      b.refuse(l[0], Code.voided);
      b.error(l[0], ForbiddenError);
    }
  });
}

test("without the right to void, a new producer is taken", () => {
  const b = new Bench();
  const l = b.push(2);
  for (let i = 0; i < 2; i++) {
    b.send();
    b.refuse(l[0], Code.forbidden);
    b.refuse(l[1], Code.forbidden);
  }
  b.error(l[0], ForbiddenError);
  b.error(l[1], ForbiddenError);
  b.push(1);
  b.wantNumbers(2, 1);
});

test("a new epoch: what may stand is unknown, the rest goes on under a new producer", () => {
  const b = new Bench();
  const l = b.push(4);
  b.send();
  b.ok(l[0], 1);
  b.o.lost();
  b.send(); // 2, 3, 4 again: each may have been applied before
  l.push(...b.push(1)); // 5 goes out for the first time
  b.send();
  b.ok(l[1], 2); // was in the table
  b.refuse(l[2], Code.too_old);
  b.refuse(l[3], Code.too_old);
  l.push(...b.push(1));
  b.wantNumbers(2); // not before all is answered
  b.refuse(l[4], Code.too_old); // tried once: not applied
  b.unknown(l[2]);
  b.unknown(l[3]);
  assert.ok(!b.told.has(l[4]!), "number 5 goes on");
  b.wantNumbers(2, 1, 2);
});

test("gives up after several producers", () => {
  const b = new Bench();
  const l = b.push(1);
  for (let i = 0; i <= maxRenewals; i++) {
    assert.equal(b.told.size, 0);
    assert.equal(b.send().length, 1);
    b.refuse(l[0], Code.too_old);
  }
  assert.equal(b.error(l[0], MeridianError).code, Code.too_old);
  assert.ok(!(b.told.get(l[0]!)?.error instanceof UnknownOutcomeError));
});

for (const clock of ["steady", "wall"] as const) {
  test(`never sends what is too old by the ${clock} clock`, () => {
    const b = new Bench();
    const l = b.push(3);
    b.wantNumbers(1, 1, 2, 3);
    b.ok(l[0], 1);
    b.refuse(l[2], Code.out_of_order); // not applied, surely
    b.o.lost();
    b.now = { ...b.now, [clock]: b.now[clock] + maxAge + 1000 };
    const sent = b.wantNumbers(2, 1);
    b.unknown(l[1]);
    assert.equal(sent[0]?.age, 0);
  });
}

test("a clock set back makes nothing younger", () => {
  const b = new Bench();
  b.push(1);
  b.send();
  b.o.lost();
  b.now = { wall: b.now.wall - 3_600_000, steady: b.now.steady + 5000 };
  assert.equal(b.send()[0]?.age, 5000);
});

test("rested for five minutes, it takes a new producer", () => {
  const b = new Bench();
  let l = b.push(1);
  b.send();
  b.ok(l[0], 1);
  b.pass(restAfter - 1000);
  l = b.push(1);
  b.wantNumbers(1, 2);
  b.ok(l[0], 2);
  b.pass(restAfter);
  b.push(1);
  b.wantNumbers(2, 1);
});

test("keeps to the window", () => {
  const b = new Bench();
  const l = b.push(window + 10);
  assert.equal(b.send().length, window);
  b.ok(l[1], 2); // number 1 still is not answered: the home would forget it
  assert.equal(b.send().length, 0);
  b.ok(l[0], 1);
  assert.equal(b.send().length, 2);
});

test("a full window waits for answers, not for a time that is over", () => {
  const b = new Bench();
  const l = b.push(window + 10);
  b.send();
  b.refuse(l[0], Code.busy);
  for (const later of l.slice(1, window)) b.refuse(later, Code.out_of_order);
  b.pass(60_000);
  assert.equal(b.send().length, window);
  assert.equal(b.o.wakeAt(), Infinity);
});

test("cancel: unsent it goes at once, sent it goes on as void", () => {
  const b = new Bench();
  let l = b.push(1);
  b.o.cancel(l[0]!, gaveUp);
  assert.ok(b.o.idle());
  assert.equal(b.told.get(l[0]!)?.error, gaveUp);
  l = b.push(2);
  b.wantNumbers(1, 1, 2);
  b.o.cancel(l[0]!, gaveUp);
  assert.equal(b.error(l[0], UnknownOutcomeError).cause, gaveUp);
  b.o.lost();
  const sent = b.wantNumbers(1, 1, 2);
  assert.deepEqual(
    sent.map((p) => p.void),
    [true, false],
  );
  b.refuse(l[0], Code.too_old);
  b.refuse(l[1], Code.out_of_order);
  b.unknown(l[1]);
  assert.ok(b.o.idle());
});

test("cancelled among many unsent, the others keep their order", () => {
  const b = new Bench();
  const l = b.push(6);
  b.o.cancel(l[0]!, gaveUp);
  b.o.cancel(l[3]!, gaveUp);
  b.o.cancel(l[5]!, gaveUp);
  b.send();
  assert.deepEqual(
    l.map((x) => x.n),
    [0, 1, 2, 0, 3, 0],
  );
  const more = b.push(1);
  b.wantNumbers(1, 4);
  assert.equal(more[0]!.n, 4);
});

test("given up, it is not sent under a new producer", () => {
  const b = new Bench();
  const l = b.push(3);
  b.send();
  b.ok(l[0], 1);
  b.refuse(l[1], Code.busy);
  b.o.cancel(l[1]!, gaveUp);
  assert.equal(b.told.get(l[1]!)?.error, gaveUp, "it does not stand and will not");
  b.refuse(l[2], Code.too_old);
  b.pass(60_000);
  b.wantNumbers(2, 1);
});

// A home that forgot the producer says so by out_of_order for a number that had nothing before it.
// Sent behind an unanswered one, that says nothing.
test("out_of_order for a number that leads: the producer is forgotten", () => {
  const b = new Bench();
  const l = b.push(3);
  b.send();
  b.ok(l[0], 1);
  b.refuse(l[1], Code.out_of_order);
  b.refuse(l[2], Code.out_of_order);
  b.pass(1000);
  b.wantNumbers(1, 2, 3);
  b.refuse(l[1], Code.out_of_order);
  b.refuse(l[2], Code.out_of_order);
  b.pass(1000);
  b.wantNumbers(2, 1, 2);
  assert.equal(b.told.size, 1, "what was not applied goes on");
});

test("while number 1 has not arrived, what follows is out of order, and goes on in order", () => {
  const b = new Bench();
  const l = b.push(3);
  b.send();
  for (let i = 0; i < 20; i++) {
    b.refuse(l[0], Code.publish_rate);
    b.refuse(l[1], Code.out_of_order);
    b.refuse(l[2], Code.out_of_order);
    b.pass(11_000);
    b.wantNumbers(1, 1, 2, 3);
  }
  assert.equal(b.told.size, 0);
});

test("an acknowledgement counts also when it is late", () => {
  const b = new Bench();
  const l = b.push(2);
  b.send();
  const first = l[0]!.flying!;
  b.o.lost();
  b.o.answer(l[0]!, first, { epoch: 1, seq: 9 }, undefined, b.now, 0);
  assert.equal(b.told.get(l[0]!)?.at?.seq, 9);
  b.wantNumbers(1, 2);
  // A late refusal counts for nothing.
  b.o.answer(l[1]!, first, undefined, end(Code.forbidden), b.now, 0);
  assert.ok(!b.told.has(l[1]!));
  b.wantNumbers(1);
  b.ok(l[1], 10);
  assert.ok(b.o.idle());
});

test("too old with others in flight: those are awaited", () => {
  const b = new Bench();
  const l = b.push(2);
  b.send();
  b.refuse(l[1], Code.busy);
  b.refuse(l[0], Code.busy);
  b.pass(maxAge);
  assert.ok(b.o.next(b.now, (_, next) => next === l[0]));
  b.pass(1); // the link took one, and no more until now
  b.wantNumbers(1);
  b.ok(l[0], 1);
  b.wantNumbers(2, 1);
  assert.equal(b.told.size, 1);
});

test("number 1 out of order, which no home says: tried again, and not at once for ever", () => {
  const b = new Bench();
  const l = b.push(1);
  b.send();
  const at = b.now.steady;
  for (let i = 0; i < 20; i++) {
    b.o.answer(l[0]!, l[0]!.flying!, undefined, end(Code.out_of_order), b.now, 0.5);
    b.pass(Math.max(b.o.wakeAt() - b.now.steady, 0));
    b.wantNumbers(1, 1);
  }
  assert.ok(b.now.steady - at > 20_000);
});

test("refusals behind the one it went back to add no wait", () => {
  const b = new Bench();
  const l = b.push(3);
  b.send();
  b.refuse(l[0], Code.busy, 1000);
  b.refuse(l[1], Code.busy, 9000);
  b.refuse(l[2], Code.unavailable);
  assert.equal(b.o.wakeAt(), b.now.steady + 1000);
});

test("a number used for another payload is over at once", () => {
  const b = new Bench();
  const l = b.push(1);
  b.send();
  b.refuse(l[0], Code.conflict);
  b.error(l[0], ConflictError);
  b.wantNumbers(1);
  assert.ok(b.o.idle());
});

const id = new Uint8Array(16).fill(99);
for (const { lost, code, unknown } of [
  { lost: false, code: Code.forbidden, unknown: false },
  { lost: true, code: Code.forbidden, unknown: true },
  { lost: true, code: Code.too_old, unknown: true },
  { lost: false, code: Code.too_old, unknown: true }, // an earlier client may have sent it
  { lost: false, code: Code.conflict, unknown: false },
]) {
  test(`the one message of an id: code ${code}, lost before: ${lost}`, () => {
    const b = new Bench(id);
    const l = b.push(1);
    b.wantNumbers(99, 1);
    if (lost) {
      b.o.lost();
      b.wantNumbers(99, 1);
    }
    b.refuse(l[0], code);
    if (unknown) b.unknown(l[0], code);
    else assert.equal(b.error(l[0], code === Code.conflict ? ConflictError : ForbiddenError).code, code);
    assert.ok(b.o.idle());
  });
}

test("an id given up while lost is not sent again, nor used up", () => {
  const b = new Bench(id);
  const l = b.push(1);
  b.send();
  b.o.cancel(l[0]!, gaveUp);
  b.o.lost();
  b.wantNumbers(99);
  assert.ok(b.o.idle());
  assert.equal(b.ended, 1);
});

test("an id given up while it waits is over at once", () => {
  const b = new Bench(id);
  const l = b.push(1);
  b.send();
  b.refuse(l[0], Code.busy, 60_000);
  b.o.cancel(l[0]!, gaveUp);
  assert.equal(b.told.get(l[0]!)?.error, gaveUp);
  assert.ok(b.o.idle());
});

test("abandon: unknown for what is in doubt, the reason for the rest", () => {
  const b = new Bench();
  const l = b.push(1);
  b.send();
  l.push(...b.push(1));
  b.o.abandon(closed);
  b.refuse(l[0], Code.unknown);
  assert.equal(b.error(l[0], UnknownOutcomeError).cause, closed);
  assert.equal(b.told.get(l[1]!)?.error, closed);
  assert.ok(b.o.idle());
  assert.equal(b.ended, 2);
});

test("not taken by the link, a letter has no number", () => {
  const b = new Bench();
  const l = b.push(2);
  assert.ok(!b.o.next(b.now, () => false));
  assert.equal(l[0]!.n, 0);
  b.o.cancel(l[0]!, gaveUp);
  assert.equal(b.told.get(l[0]!)?.error, gaveUp);
  b.wantNumbers(1, 1);
  assert.equal(l[1]!.n, 1);
});
