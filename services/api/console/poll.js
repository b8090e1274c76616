// Repeats a task: pauses while the tab is hidden, and slows down while the appliance does not respond.

const SLOWEST = 15;

export class Poll {
  #task;
  #seconds;
  #delay;
  #timer = null;
  #running = false;
  #stopped = true;
  #again = false;

  // `task` may return the seconds until its next run.
  constructor(task, seconds) {
    this.#task = task;
    this.#seconds = this.#delay = seconds;
  }

  start() {
    this.#stopped = false;
    document.addEventListener("visibilitychange", this.#onVisibility);
    this.now();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#onVisibility);
  }

  async now() {
    if (this.#stopped) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#timer);
    this.#running = true;
    try {
      this.#delay = (await this.#task()) ?? this.#seconds;
    } catch (error) {
      if (error.status === undefined) console.error(error);
      this.#delay = Math.min(SLOWEST, Math.max(1, this.#delay * 2));
    }
    this.#running = false;
    const delay = this.#again ? 0 : this.#delay * 1000;
    this.#again = false;
    if (!this.#stopped && !document.hidden) this.#timer = setTimeout(() => this.now(), delay);
  }

  #onVisibility = () => {
    clearTimeout(this.#timer);
    if (!document.hidden) this.now();
  };
}
