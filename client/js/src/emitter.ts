// Listeners, by the name of an event.
/** Tells listeners what happened. */
export class Emitter<Events> {
  #listeners: { [K in keyof Events]?: Set<(event: Events[K]) => void> } = {};
  readonly #queue: (() => void)[] = []; // the first is being told

  /** Adds fn, once however often it is added; the function returned removes it. */
  on<K extends keyof Events>(name: K, fn: (event: Events[K]) => void): () => void {
    const set = (this.#listeners[name] ??= new Set());
    set.add(fn);
    return () => {
      set.delete(fn);
    };
  }

  /**
   * Calls the listeners of now, in the order of on. What a listener causes comes after what it was
   * told, for all. One that throws does not stop the others or the caller: the error is thrown in a
   * microtask, where it becomes the page's `error` event or Node's `uncaughtException`.
   */
  emit<K extends keyof Events>(name: K, event: Events[K]): void {
    const queue = this.#queue;
    if (queue.push(() => this.#tell(name, event)) > 1) return;
    for (; queue[0]; queue.shift()) queue[0]();
  }

  #tell<K extends keyof Events>(name: K, event: Events[K]): void {
    for (const fn of [...(this.#listeners[name] ?? [])]) {
      try {
        fn(event);
      } catch (err) {
        queueMicrotask(() => {
          throw err;
        });
      }
    }
  }
}
