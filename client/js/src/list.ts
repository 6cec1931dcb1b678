// A list whose members leave it from wherever they stand.

/** A member of a list; one that is in none is a list of its own, and begins and ends those put to it. */
export class Place {
  before: this = this;
  after: this = this;

  /** Puts p last into the list that begins with this one. */
  put(p: this): void {
    p.after = this;
    p.before = this.before;
    this.before = this.before.after = p;
  }

  /** Leaves its list, and keeps no other member alive. */
  leave(): void {
    this.before.after = this.after;
    this.after.before = this.before;
    this.before = this.after = this;
  }
}
