// A SessionHandler that notes what it is told, for tests of carriers.
import type { SessionHandler } from "../src/session.ts";

export interface NotingHandler extends SessionHandler {
  /** In order; the bytes of a stream that follow each other are one entry. */
  readonly log: string[];
  /** Resolves once the log has an entry that begins so. */
  heard(start: string): Promise<void>;
}

export function notingHandler(): NotingHandler {
  const log: string[] = [];
  const waiting = new Set<() => void>();
  const note = (entry: string) => {
    const last = log.at(-1);
    const [kind] = entry.split(": ");
    if (kind!.startsWith("data") && last?.startsWith(kind + ": ")) log[log.length - 1] = last + entry.slice(kind!.length + 2);
    else log.push(entry);
    for (const w of waiting) w();
  };
  const hex = (b: Uint8Array) => (b.length > 40 ? b.length + " bytes " : Buffer.from(b).toString("hex"));
  return {
    log,
    data: (stream, bytes) => note(`data ${stream}: ${hex(bytes)}`),
    ended: (stream, reset) => note(`ended ${stream} ${reset}`),
    datagram: (bytes) => note(`datagram ${hex(bytes)}`),
    drained: () => note("drained"),
    closed: (code, reason) => note(`closed ${code} ${reason}`),
    heard(start) {
      return new Promise((resolve) => {
        const look = () => {
          if (!log.some((e) => e.startsWith(start))) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      });
    },
  };
}
