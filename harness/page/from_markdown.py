"""Our own Markdown as HTML: paragraphs, lists, tables and parts that unfold; nothing of it is taken for HTML that we did not write."""

from __future__ import annotations

import re

_FOLD = re.compile(r"^<details><summary>(.*?)</summary>\n\n(.*?)\n\n</details>$", re.DOTALL | re.MULTILINE)


def as_html(text: str) -> str:
    """The HTML of Markdown that `harness.report` made. Whatever in it came from strangers was made harmless there, and HTML that it
    may still hold stays text here."""
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    # No link and no picture: they would ask for something from elsewhere.
    markdown.disable(["link", "image", "autolink", "html_inline", "html_block", "reference"])
    pieces, done = [], 0
    for fold in _FOLD.finditer(text):
        pieces.append(markdown.render(text[done : fold.start()]))
        title = markdown.renderInline(fold[1])
        pieces.append(f"<details><summary>{title}</summary>{markdown.render(fold[2])}</details>")
        done = fold.end()
    pieces.append(markdown.render(text[done:]))
    return "".join(pieces).replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
