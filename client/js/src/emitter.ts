// Listeners, by the name of an event.
/** Tells listeners what happened. */
export interface Emitter<Events> {
  /** Adds fn, once however often it is added; the function returned removes it. */
  on<K extends keyof Events>(name: K, fn: (event: Events[K]) => void): () => void;
  /**
   * Calls the listeners of now, in the order of on. What a listener causes comes after what it was
   * told, for all. One that throws does not stop the others or the caller: the error is thrown in a
   * microtask, where it becomes the page's `error` event or Node's `uncaughtException`.
   */
  emit<K extends keyof Events>(name: K, event: Events[K]): void;
}

export function emitter<Events>(): Emitter<Events> {
  const listeners: { [K in keyof Events]?: Set<(event: Events[K]) => void> } = {};
  const queue: (() => void)[] = []; // the first is being told
  return {
    on(name, fn) {
      const set = (listeners[name] ??= new Set());
      set.add(fn);
      return () => void set.delete(fn);
    },
    emit(name, event) {
      const tell = () => {
        for (const fn of [...(listeners[name] ?? [])]) {
          try {
            fn(event);
          } catch (err) {
            queueMicrotask(() => {
              throw err;
            });
          }
        }
      };
      if (queue.push(tell) > 1) return;
      for (; queue[0]; queue.shift()) queue[0]();
    },
  };
}
