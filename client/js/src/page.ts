/** What happens to a page, or worker, that matters to a connection. */
export type PageEvent = "hidden" | "visible" | "resumed" | "away" | "back" | "online" | "offline";

/**
 * Tells what happens to the page, until the function returned is called. In workers and in Node
 * there is what exists: network events, or nothing.
 *
 * hidden: nobody looks. visible: somebody looks again. resumed: it was frozen, and goes on. away: it
 * was left, and goes into the back-forward cache only without connections. back: it is shown again.
 * `beforeunload` is not used, as it keeps pages out of that cache.
 */
export function watchPage(tell: (event: PageEvent) => void): () => void {
  const stop = new AbortController();
  const listen = (target: Partial<EventTarget> | undefined, type: string, fn: () => void): void =>
    target?.addEventListener?.(type, fn, stop);
  const page = typeof document === "undefined" ? undefined : document;
  listen(page, "visibilitychange", () => tell(isHidden() ? "hidden" : "visible"));
  listen(page, "resume", () => tell("resumed"));
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
