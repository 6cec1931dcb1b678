// The page's lifecycle and its network, where there is a page.
/** What happens to a page, or a worker, that matters to a connection, by the names that the platform gives. */
export type PageEvent = "visibilitychange" | "resume" | "pagehide" | "pageshow" | "online" | "offline";

/**
 * Tells what happens to the page, until the function returned is called. In workers and in Node
 * there is what exists: network events, or nothing. A page goes into the back-forward cache only
 * without connections, and without listeners for `beforeunload` and `unload`.
 */
export function watchPage(tell: (event: PageEvent) => void): () => void {
  const stop = new AbortController();
  const events = "visibilitychange resume pagehide pageshow online offline".split(" ") as PageEvent[];
  // The first two are the document's.
  events.forEach((event, i) => (i < 2 ? globalThis.document : globalThis)?.addEventListener?.(event, () => tell(event), stop));
  return () => stop.abort();
}

/** Whether there is a page and nobody looks at it. */
export function isHidden(): boolean {
  return globalThis.document?.visibilityState === "hidden";
}

/** Whether the browser is sure that there is no network. It may err: loopback works without one. */
export function isOffline(): boolean {
  return globalThis.navigator?.onLine === false;
}
