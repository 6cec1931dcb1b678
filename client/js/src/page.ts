/** What happens to a page, or worker, that matters to a connection. */
export type PageEvent = "hidden" | "awake" | "away" | "back" | "online" | "offline";

/**
 * Tells what happens to the page, until the function returned is called. In workers and in Node
 * there is what exists: network events, or nothing.
 *
 * hidden: nobody looks. awake: somebody looks again, or the page was frozen and goes on. away: the
 * page was left, and goes into the back-forward cache only without connections. back: it is shown
 * again. `beforeunload` is not used, as it keeps pages out of that cache.
 */
export function watchPage(tell: (event: PageEvent) => void): () => void {
  const stop = new AbortController();
  const listen = (target: Partial<EventTarget> | undefined, type: string, fn: () => void): void =>
    target?.addEventListener?.(type, fn, stop);
  const page = typeof document === "undefined" ? undefined : document;
  listen(page, "visibilitychange", () => tell(isHidden() ? "hidden" : "awake"));
  listen(page, "resume", () => tell("awake"));
  listen(globalThis, "pagehide", () => tell("away"));
  listen(globalThis, "pageshow", () => tell("back"));
  listen(globalThis, "online", () => tell("online"));
  listen(globalThis, "offline", () => tell("offline"));
  return () => stop.abort();
}

/** Whether there is a page and nobody looks at it. */
export function isHidden(): boolean {
  return typeof document !== "undefined" && document.visibilityState === "hidden";
}

/** Whether the browser is sure that there is no network. It may err: loopback works without one. */
export function isOffline(): boolean {
  return typeof navigator !== "undefined" && navigator.onLine === false;
}
