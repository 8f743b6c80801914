/**
 * The only owner of the transcript's scroll position.
 *
 * Pinned, it follows the newest text. What the reader does unpins it (wheel up, a finger that moves down, keys, the
 * scroll bar), never a distance; arriving at the end, or the button, pins it again. While the mouse button is held
 * down, as for selecting, nothing moves.
 */

const AT_END_PX = 4;
const KEYS_UP = new Set(["ArrowUp", "PageUp", "Home"]);

export class Scroller {
  #outer;
  #changed;
  #pinned = true;
  #held = false;
  #fingerY = 0;
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
    outer.addEventListener("touchstart", (event) => (this.#fingerY = event.touches[0].clientY), options);
    outer.addEventListener("touchmove", (event) => this.#swipe(event), options);
    // A finger need not have scrolled: then no scroll event tells that this is still the end.
    for (const type of ["touchend", "touchcancel"]) outer.addEventListener(type, () => this.#pinAtEnd(), options);
    outer.addEventListener("keydown", (event) => KEYS_UP.has(event.key) && this.#unpin(), options);
    outer.addEventListener("pointerdown", (event) => this.#press(event), options);
    addEventListener("pointerup", () => (this.#held = false), options);
    addEventListener("pointercancel", () => (this.#held = false), options);
    outer.addEventListener("scroll", () => this.#pinAtEnd(), options);
  }

  #press(event) {
    if (event.pointerType !== "mouse" || event.button !== 0) return; // a context menu may keep the pointerup
    this.#held = true;
    const onScrollBar = event.target === this.#outer && event.offsetX >= this.#outer.clientWidth;
    if (onScrollBar) this.#unpin();
  }

  /** The text goes with the finger: down is away from the end. */
  #swipe(event) {
    const before = this.#fingerY;
    this.#fingerY = event.touches[0].clientY;
    if (this.#fingerY > before) this.#unpin();
  }

  #unpin() {
    if (this.#outer.scrollHeight > this.#outer.clientHeight) this.#set(false);
  }

  #pinAtEnd() {
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
