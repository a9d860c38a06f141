/** Runs one job at a time. While it runs only the newest request is kept, older ones are dropped. */
export class Newest {
  #work;
  #waiting = null;
  #running = null;

  constructor(work) {
    this.#work = work;
  }

  /** Ask for a job; resolves when nothing is left to do. */
  ask(request) {
    this.#waiting = { request };
    this.#running ??= this.#run().finally(() => { this.#running = null; });
    return this.#running;
  }

  get busy() {
    return this.#running !== null;
  }

  async #run() {
    while (this.#waiting) {
      const { request } = this.#waiting;
      this.#waiting = null;
      await this.#work(request);
    }
  }
}
