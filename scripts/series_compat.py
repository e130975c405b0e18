# SPDX-License-Identifier: GPL-2.0-or-later
"""Source without its compatibility header, as upstream trees want it.

The source is written for the newest version of what it is built in. Of the header, the branches for that version are
left: macros, whose text takes the place of their names, and includes, which take the place of the header's.
"""

import re

DEFINE = re.compile(r"#define\s+(\w+)(\(([^)]*)\))?[ \t]*(.*)", re.DOTALL)


def resolve(text, condition):
    """The lines of a header that the preprocessor would keep. condition() says what an #if line comes to, as True or
    False; None leaves it and its #endif."""
    lines, states = [], []		# states: of each open #if whether its lines are kept, or None
    for line in _joined(text):
        directive = re.match(r"#\s*(ifdef|ifndef|if|else|elif|endif)\b", line)
        kind = directive[1] if directive else None
        if kind in ("if", "ifdef", "ifndef"):
            states.append(condition(line))
            if states[-1] is None and False not in states[:-1]:
                lines.append(line)
        elif kind == "else" and states[-1] is not None:
            states[-1] = not states[-1]
        elif kind == "endif":
            if states.pop() is None and False not in states:
                lines.append(line)
        elif False not in states:
            lines.append(line)
    return lines


def _joined(text):
    """Lines, continued ones as one."""
    return re.sub(r"\\\n\s*", " ", text).splitlines()


class Header:
    """What a compatibility header comes to for the newest version."""

    def __init__(self, text, condition, guard):
        self.macros, self.includes = {}, []
        for line in resolve(_without_comments(text), condition):
            define = DEFINE.match(line)
            if define and define[1] != guard:
                arguments = None if define[2] is None else [word.strip() for word in define[3].split(",")]
                self.macros[define[1]] = (arguments, define[4].strip())
            elif line.startswith("#include"):
                self.includes.append(line)
            elif line.strip() and not line.startswith(("#", " ")) and not define:
                raise ValueError(f"for the newest version there is more than macros: {line}")

    def apply(self, text, include, leave=()):
        """A source file without the header: its include becomes those of the header, leave excepted."""
        instead = "".join(f"{line}\n" for line in self.includes if line not in leave and line not in text)
        text = text.replace(f"{include}\n", instead)
        for name, (arguments, body) in self.macros.items():
            text = _expand(text, name, arguments, body)
        return text


def _without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def _expand(text, name, arguments, body):
    done = []
    while found := re.search(rf"\b{name}\b" + ("" if arguments is None else r"\("), text):
        end, value = found.end(), body
        if arguments is not None:
            given, end = _arguments(text, found.end())
            for word, argument in zip(arguments, given):
                value = re.sub(rf"\b{word}\b", lambda _, to=argument: to, value)
            value = re.sub(r"(?<!\w)\((\w+)\)", r"\1", value)
            value = re.sub(r"\(&([\w.>-]+)\)->", r"\1.", value)
            value = re.sub(r"(?<!\w)\(([\w.>-]+)\)->", r"\1->", value)
        # Parentheses that only a macro needs.
        if _in_parentheses(value) and re.search(r"[=(,;{}]\s*$", text[:found.start()]) and text[end] in ";,)":
            value = value[1:-1]
        done.append(text[:found.start()] + value)
        text = text[end:]
        if not value:
            text = text.lstrip(" ")
    return "".join(done) + text


def _in_parentheses(text):
    """Whether the first parenthesis and the last character are a pair."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            return text.startswith("(") and at == len(text) - 1
    return False


def _arguments(text, start):
    """The arguments of a call, from behind its parenthesis, and where it ends."""
    depth, begin, found = 0, start, []
    for at in range(start, len(text)):
        if text[at] == "(":
            depth += 1
        elif text[at] == ")" and depth:
            depth -= 1
        elif text[at] in ",)" and not depth:
            found.append(" ".join(text[begin:at].split()))
            begin = at + 1
            if text[at] == ")":
                return found, at + 1
    raise ValueError("a call of a macro does not end")
