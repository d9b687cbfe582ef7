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


def sections_of(text: str) -> list[tuple[str, str]]:
    """The parts of Markdown under its large headings: the words of the heading, and the part with it. What stands before the first
    is none, and a heading within a code block begins none."""
    found: list[tuple[str, list[str]]] = []
    fence = ""
    for line in text.split("\n"):
        mark = re.match(r"`{3,}", line)
        if mark and not fence:
            fence = mark[0]
        elif fence and line.rstrip() == fence:
            fence = ""
        elif not fence and line.startswith("## "):
            found.append((line.removeprefix("## "), []))
        if found:
            found[-1][1].append(line)
    return [(title, "\n".join(lines)) for title, lines in found]
