/** An answer's markdown: an island that Preact leaves alone, painted by `LiveMarkdown`. */

import { Component, createRef, html } from "../vendor.js";
import { LiveMarkdown } from "../render/live_markdown.js";

export class MessageBody extends Component {
  root = createRef();

  shouldComponentUpdate(next) {
    if (next.text !== this.props.text || next.settled !== this.props.settled) this.show(next);
    return false;
  }

  componentDidMount() {
    this.live = new LiveMarkdown(this.root.current);
    this.show(this.props);
  }

  componentWillUnmount() {
    this.live.dispose();
  }

  show({ text, settled }) {
    if (settled) this.live.settle(text);
    else this.live.update(text);
  }

  render() {
    return html`<div class="prose" dir="auto" ref=${this.root}></div>`;
  }
}
