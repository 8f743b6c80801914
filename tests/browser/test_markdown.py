"""A model's markdown becomes nodes: right, harmless, and the same however it was cut while it came."""

import random
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.markdown_texts import HOSTILE, TEXTS

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]

LANGUAGES = ["python", "javascript", "xml", "json", "bash"]
LOAD = """(names) => import('/static/chat/js/render/languages.js').then(({ loadLanguage }) =>
  Promise.all(names.map(loadLanguage)).then(() => true))"""
RENDER = """async (text) => {
  const { LiveMarkdown } = await import('/static/chat/js/render/live_markdown.js');
  const box = document.createElement('div');
  document.body.append(box);
  new LiveMarkdown(box).settle(text);
  const html = box.innerHTML;
  box.remove();
  return html;
}"""
STREAM = """async ([text, cuts]) => {
  const { LiveMarkdown } = await import('/static/chat/js/render/live_markdown.js');
  const once = document.createElement('div');
  new LiveMarkdown(once).settle(text);
  const box = document.createElement('div');
  const live = new LiveMarkdown(box);
  for (const cut of [...cuts, text.length]) {
    live.update(text.slice(0, cut));
    live.dispose();
    live.paint();
  }
  const painted = box.isEqualNode(once);
  const replaced = live.settle(text);
  return { painted, replaced, equal: box.isEqualNode(once) };
}"""


async def render(page: Page, text: str) -> str:
    html: str = await page.evaluate(RENDER, text)
    return html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a *b* **c** ~~d~~ `e < f`", "<p>a <em>b</em> <strong>c</strong> <del>d</del> <code>e &lt; f</code></p>"),
        ("one\ntwo", "<p>one<br>two</p>"),
        ("# T", "<h3>T</h3>"),
        ("###### T", "<h6>T</h6>"),
        ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
        ("- a\n  - b", "<ul><li>a<ul><li>b</li></ul></li></ul>"),
        ("> q", "<blockquote><p>q</p></blockquote>"),
        ("a snake_case_name and 2 * 3 * 4", "<p>a snake_case_name and 2 * 3 * 4</p>"),
        ("costs $5 and $6", "<p>costs $5 and $6</p>"),
        ("&lt;b&gt; &amp;amp; &#8594; &nosuch;", "<p>&lt;b&gt; &amp;amp; → &amp;nosuch;</p>"),
        ("`&lt;`", "<p><code>&amp;lt;</code></p>"),
        ("x <b>y</b>", "<p>x &lt;b&gt;y&lt;/b&gt;</p>"),
        ("[r]\n\n[r]: https://a.b/c", None),
        ("---", "<hr>"),
    ],
)
async def test_markdown_is_shown(modules: Page, text: str, html: str | None) -> None:
    rendered = await render(modules, text)
    if html is None:
        assert 'href="https://a.b/c"' in rendered
    else:
        assert rendered == html


async def test_a_table_is_a_table(modules: Page) -> None:
    html = await render(modules, "|a|b|\n|:-|-:|\n|1|**2**|\n")
    assert '<th class="align-left">a</th><th class="align-right">b</th>' in html
    assert '<td class="align-right"><strong>2</strong></td>' in html


async def test_code_is_coloured_once_its_grammar_is_there(modules: Page) -> None:
    await modules.evaluate(LOAD, LANGUAGES)
    html = await render(modules, "```py\ndef f(): return '<b>'\n```")
    assert '<span class="hljs-keyword">def</span>' in html
    assert "'&lt;b&gt;'" in html
    text = await modules.evaluate(
        """async () => {
          const { codeBlock } = await import('/static/chat/js/render/code_block.js');
          const figure = codeBlock("<p class='x'>{1}</p><script>let a = 1;</script>\\n\\tx", 'html');
          return figure.querySelector('code').textContent;
        }"""
    )
    assert text == "<p class='x'>{1}</p><script>let a = 1;</script>\n\tx"


@pytest.mark.parametrize(
    ("href", "allowed"),
    [
        ("https://example.org/a?b=c#d", True),
        ("http://example.org/", True),
        ("mailto:a@example.org", True),
        ("javascript:alert(1)", False),
        ("JaVaScRiPt:alert(1)", False),
        ("java&#x09;script:alert(1)", False),
        ("&#106;avascript:alert(1)", False),
        ("vbscript:x", False),
        ("data:text/html,<script>alert(1)</script>", False),
        ("blob:https://a/b", False),
        ("file:///etc/passwd", False),
        ("/admin/", False),
        ("//example.org/", False),
        ("#top", False),
    ],
)
async def test_only_some_addresses_are_links(modules: Page, href: str, allowed: bool) -> None:
    html = await render(modules, f"[text](<{href}>)")
    assert ("<a " in html) == allowed
    assert "text" in html
    if allowed:
        assert 'rel="noopener noreferrer nofollow"' in html


async def test_a_picture_is_a_link_and_never_loaded(modules: Page) -> None:
    html = await render(modules, "![a cat](https://pictures.example/cat.png?secret=1)")
    assert "<img" not in html
    assert ">Image: a cat</a>" in html


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_is_harmless_at_every_prefix(modules: Page, text: str) -> None:
    """Dialogs, foreign requests and policy violations would be seen by the page's watch."""
    wrong = await modules.evaluate(
        """async (text) => {
          const { LiveMarkdown } = await import('/static/chat/js/render/live_markdown.js');
          const box = document.createElement('div');
          document.body.append(box);
          const live = new LiveMarkdown(box);
          const wrong = [];
          const forbidden = new Set(`SCRIPT IMG IFRAME OBJECT EMBED SVG STYLE FORM BASE LINK META VIDEO AUDIO TEXTAREA
            MATH TEMPLATE`.split(/\\s+/));
          const look = () => {
            for (const node of box.querySelectorAll('*')) {
              if (forbidden.has(node.nodeName.toUpperCase())) wrong.push(node.nodeName);
              for (const { name, value } of node.attributes) {
                if (/^on|^style$|^src|^action$|^id$|^name$/i.test(name)) wrong.push(`${node.nodeName} ${name}`);
                if (name === 'href' && !/^(https?|mailto):/i.test(value)) wrong.push(`href ${value}`);
              }
            }
          };
          for (let end = 1; end <= text.length; end += 1) {
            live.update(text.slice(0, end));
            live.dispose();
            live.paint();
            look();
          }
          live.settle(text);
          look();
          box.remove();
          return wrong;
        }""",
        text,
    )
    assert wrong == []


@pytest.mark.parametrize("name", TEXTS)
async def test_streamed_in_any_chunks_it_ends_as_if_rendered_once(modules: Page, name: str) -> None:
    await modules.evaluate(LOAD, LANGUAGES)
    text = TEXTS[name]
    for seed in range(25):
        chance = random.Random(seed)
        count = chance.choice([5, 20, len(text) // 3])
        cuts = sorted(chance.sample(range(1, len(text)), min(count, len(text) - 1)))
        result: dict[str, Any] = await modules.evaluate(STREAM, [text, cuts])
        assert result["equal"], (seed, cuts)
        if name != "late references":  # those alone may need the end to be right
            assert result["painted"], (seed, cuts)
            assert result["replaced"] == 0, (seed, cuts)


async def test_final_blocks_are_never_touched_again(modules: Page) -> None:
    touched = await modules.evaluate(
        """async (text) => {
          const { LiveMarkdown } = await import('/static/chat/js/render/live_markdown.js');
          const box = document.createElement('div');
          document.body.append(box);
          const live = new LiveMarkdown(box);
          live.update(text);
          live.dispose();
          live.paint();
          const first = box.firstChild;
          const changes = new MutationObserver(() => {});
          changes.observe(first, { subtree: true, childList: true, characterData: true, attributes: true });
          getSelection().selectAllChildren(first);
          for (let more = 0; more < 50; more += 1) {
            live.update(text + '\\n\\nAnd more '.repeat(more));
            live.dispose();
            live.paint();
          }
          live.settle(text + '\\n\\nAnd more '.repeat(49));
          const selected = getSelection().toString();
          const same = box.firstChild === first;
          const count = changes.takeRecords().length;
          box.remove();
          return { count, same, selected };
        }""",
        "First paragraph, with **bold** text.\n\nSecond.",
    )
    assert touched == {"count": 0, "same": True, "selected": "First paragraph, with bold text."}


async def test_each_paint_costs_what_the_last_block_costs(modules: Page) -> None:
    """Counted, not timed: how much text the lexer is given for 2,000 paints of 42,000 characters."""
    text = TEXTS["everything"] * 40
    lexed = await modules.evaluate(
        """async (text) => {
          const { Lexer } = await import('/static/chat/vendor/marked/marked.js');
          const { LiveMarkdown } = await import('/static/chat/js/render/live_markdown.js');
          const { lex } = Lexer.prototype;
          let count = 0;
          Lexer.prototype.lex = function (source) {
            count += source.length;
            return lex.call(this, source);
          };
          const live = new LiveMarkdown(document.createElement('div'));
          for (let end = 20; end < text.length; end += 20) {
            live.update(text.slice(0, end));
            live.dispose();
            live.paint();
          }
          Lexer.prototype.lex = lex;
          return count;
        }""",
        text,
    )
    assert lexed < 25 * len(text), f"{lexed / len(text):.0f} times the text"


@pytest.mark.parametrize(
    "text",
    [">" * 5000 + " deep", "a" * 60_000 + "@", "*a " * 20_000, "[" * 20_000, "- " * 3000 + "a"],
    ids=["quotes", "word", "stars", "brackets", "lists"],
)
async def test_no_text_can_stop_the_page(modules: Page, text: str) -> None:
    started: float = await modules.evaluate("() => performance.now()")
    html = await render(modules, text)
    ended: float = await modules.evaluate("() => performance.now()")
    assert html
    assert ended - started < 20_000
