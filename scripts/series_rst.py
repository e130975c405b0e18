# SPDX-License-Identifier: GPL-2.0-or-later
"""Our Markdown as reStructuredText, which QEMU's documentation is written in.

Only what docs/pvhca-device.md uses: headings, paragraphs, tables with one line for a row, indented blocks, code,
emphasis, links. A link to another file of this tree becomes its text.
"""

import re

UNDERLINES = {1: "=", 2: "-", 3: "~"}


def convert(text):
    lines, out = text.splitlines(), []
    while lines:
        line = lines.pop(0)
        heading = re.match(r"(#+) (.*)", line)
        if heading:
            title = _inline(heading[2])
            out += [title, UNDERLINES[len(heading[1])] * len(title)]
        elif line.startswith("|"):
            rows = [line]
            while lines and lines[0].startswith("|"):
                rows.append(lines.pop(0))
            out += _table(rows)
        elif line.startswith("    "):
            block = [line]
            while lines and (lines[0].startswith("    ") or not lines[0] and lines[1:] and lines[1].startswith("    ")):
                block.append(lines.pop(0))
            out += ["::", "", *block]
        else:
            out += _wrapped(_inline(line))
    return "\n".join(out) + "\n"


def _inline(text):
    text = re.sub(r"\[([^]]*)\]\(https?:[^)]*\)", r"\1", text)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`([^`]+)`", r"``\1``", text)
    return text.replace("\\|", "|")


def _wrapped(text, width=78):
    """Lines of at most that length, broken at spaces outside of code."""
    lines = [""]
    for word in re.findall(r"(?:``.*?``|\S)+", text):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines


def _cells(row):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def _table(rows):
    header, body = _cells(rows[0]), [_cells(row) for row in rows[2:]]
    out = [".. list-table::"]
    if any(header):
        out.append("   :header-rows: 1")
        body.insert(0, header)
    out.append("")
    for row in body:
        for number, cell in enumerate(row + [""] * (len(header) - len(row))):
            begin = "   * - " if number == 0 else "     - "
            text = _wrapped(_inline(cell), 70)
            out.append((begin + text[0]).rstrip())
            out += [" " * 7 + line for line in text[1:]]
    return out
