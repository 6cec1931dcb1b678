// How fast one link publishes, when the relay says that it is too fast.
import { retryDelay } from "./backoff.ts";
import type { End } from "./session.ts";

/** Messages in flight of a link that was refused for its rate, at least. */
const least = 64;
/** At most, after the first refusal: what was in flight says little. */
const first = 1024;
/** Beyond it the window bounds nothing any more. */
const most = 65_536;
/** Answers that let it grow by one. */
const growth = 16;

export interface Pace {
  /** Sent over the link, not answered. */
  flight: number;
  /** Nothing is sent before. */
  until: number;
  /** Whether one more may be sent. */
  open(steady: number): boolean;
  /** Takes the answer to one that was in flight; end undefined: it stands. random is in [0, 1). */
  answered(end: End | undefined, steady: number, random: number): void;
}

/**
 * Slows a link down whose publishes are refused because there are too many of them. The limits
 * are the session's, over all channels, and each refusal sends a channel back to what was
 * refused: without a common pause and a window, the repeats alone would be too many. It halves the
 * window at a refusal and lets it grow by one for every few acknowledged (AIMD: Chiu and Jain,
 * 1989). It is pure: times are on the steady clock. A new one bounds nothing.
 */
export function startPace(): Pace {
  let window = Infinity; // messages in flight at most
  const pace: Pace = {
    flight: 0,
    until: 0,
    open: (steady) => steady >= pace.until && pace.flight < window,
    answered(end, steady, random) {
      const flight = pace.flight--;
      if (!end) {
        if ((window += 1 / growth) > most) window = Infinity;
      } else if ([51, 52].includes(end.code)) {
        // publish_rate, byte_rate: once for all that were in flight together.
        if (steady >= pace.until) window = Math.max(least, Math.min(flight / 2, first));
        pace.until = Math.max(pace.until, steady + retryDelay(end, 1, random));
      }
    },
  };
  return pace;
}
