// What an answer to a publish means for its producer, and what the caller is told.
import { Code, retryOf } from "./codes.ts";
import { errorOf, MeridianError, UnknownOutcomeError } from "./errors.ts";
import type { End } from "./session.ts";

/**
 * - refused: for good; the number is unused, so it must be used up
 * - retry: not by this attempt; go back
 * - order: as retry; if nothing was before it, the home has forgotten the producer
 * - open: applied or not; go back
 * - used: the number is used, but not by this message
 * - old: the producer is closed, or the home cannot tell
 */
export type Verdict = "refused" | "retry" | "order" | "open" | "used" | "old";

export function judge(code: number): Verdict {
  switch (code) {
    case Code.out_of_order:
      return "order";
    case Code.too_old:
      return "old";
    case Code.conflict:
    case Code.voided:
      return "used";
    case Code.unauthorized:
    case Code.token_expired:
    case Code.moved:
    case Code.read_only:
    case Code.busy:
    case Code.publish_rate:
    case Code.byte_rate:
    case Code.request_rate:
      return "retry";
  }
  return retryOf(code) === "final" ? "refused" : "open";
}

/** The error for a publish that the relay refused, which does not stand. */
export function refusal(channel: string, end: End): MeridianError {
  const error = errorOf(end, "publish to " + channel);
  // The code alone leaves the outcome open; a producer that was never lost says more.
  return error instanceof UnknownOutcomeError ? new MeridianError(error.message, end) : error;
}

/** The error for a publish that may stand or not. */
export function unknown(channel: string, cause: unknown): UnknownOutcomeError {
  return new UnknownOutcomeError(
    `publish to ${channel}: it may stand or not; give messages an id to repeat them safely`,
    { cause },
  );
}
