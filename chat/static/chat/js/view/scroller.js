/**
 * The only owner of the transcript's scroll position.
 *
 * Pinned, it follows the newest text. What the reader does unpins it (wheel up, touch, keys, the scroll bar, a button
 * held down while selecting), never a distance; arriving at the end, or the button, pins it again.
 */

const AT_END_PX = 4;
const KEYS_UP = new Set(["ArrowUp", "PageUp", "Home"]);

export class Scroller {
  #outer;
  #changed;
  #pinned = true;
  #held = false;
  #end = new AbortController();
  #observer;

  /** `changed(pinned)` is called whenever that changes. */
  constructor(outer, inner, changed) {
    this.#outer = outer;
    this.#changed = changed;
    this.#observer = new ResizeObserver(() => this.#follow());
    this.#observer.observe(inner);
    this.#observer.observe(outer);
    outer.classList.add("pinned");
    this.#listen();
  }

  pin() {
    this.#set(true);
    this.#follow();
  }

  dispose() {
    this.#end.abort();
    this.#observer.disconnect();
  }

  #listen() {
    const options = { passive: true, signal: this.#end.signal };
    const outer = this.#outer;
    outer.addEventListener("wheel", (event) => event.deltaY < 0 && this.#unpin(), options);
    outer.addEventListener("touchmove", () => this.#unpin(), options);
    outer.addEventListener("keydown", (event) => KEYS_UP.has(event.key) && this.#unpin(), options);
    outer.addEventListener("pointerdown", (event) => this.#press(event), options);
    addEventListener("pointerup", () => (this.#held = false), options);
    addEventListener("pointercancel", () => (this.#held = false), options);
    outer.addEventListener("scroll", () => this.#scrolled(), options);
  }

  #press(event) {
    if (event.pointerType !== "mouse") return;
    this.#held = true;
    const onScrollBar = event.target === this.#outer && event.offsetX >= this.#outer.clientWidth;
    if (onScrollBar) this.#unpin();
  }

  #unpin() {
    if (this.#outer.scrollHeight > this.#outer.clientHeight) this.#set(false);
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#outer;
    if (!this.#pinned && scrollHeight - scrollTop - clientHeight <= AT_END_PX) this.#set(true);
  }

  #follow() {
    if (this.#pinned && !this.#held) this.#outer.scrollTop = this.#outer.scrollHeight;
  }

  #set(pinned) {
    if (this.#pinned === pinned) return;
    this.#pinned = pinned;
    this.#outer.classList.toggle("pinned", pinned);
    this.#changed(pinned);
  }
}
