# SPDX-License-Identifier: GPL-2.0-or-later
"""Each check finds the breach that it is there for, in a small tree, and nothing in the same tree without it."""

import json
import subprocess
import tempfile
import unittest
from pathlib import Path

CHECK = Path(__file__).resolve().parent / "check"
CLANG_FORMAT = "BasedOnStyle: LLVM\nIndentWidth: 8\nUseTab: Always\nBreakBeforeBraces: Linux\n" \
               "AllowShortFunctionsOnASingleLine: None\n"
SOURCE = "// SPDX-License-Identifier: MIT\nint main(void)\n{\n\treturn 0;\n}\n"
TOOL_MISSING = 77


class Check(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        self.write("LICENSES/MIT.txt", "Anything goes.\n")
        self.write(".clang-format", "# SPDX-License-Identifier: MIT\n" + CLANG_FORMAT)
        self.write(".clang-tidy", "# SPDX-License-Identifier: MIT\nChecks: '-*,bugprone-suspicious-semicolon'\n"
                                  "WarningsAsErrors: '*'\n")
        self.write("part/main.c", SOURCE)
        self.write("README.md", "# Tree\n\n[the part](part/main.c), [here](#tree), `part/main.c`, `main.c`, `part/*.c`\n")

    def write(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")

    def git(self, *command):
        subprocess.run(["git", "-C", self.root, "-c", "user.name=x", "-c", "user.email=x", *command], check=True,
                       capture_output=True)

    def run_check(self, name):
        run = subprocess.run([CHECK, name, "--root", self.root], capture_output=True, text=True, timeout=60)
        if run.returncode == TOOL_MISSING:
            self.skipTest(run.stdout)
        return run

    def clean(self, name):
        run = self.run_check(name)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def breach(self, name, told):
        run = self.run_check(name)
        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        self.assertIn(told, run.stdout)

    def test_a_tree_without_breaches_is_clean(self):
        for name in ("format", "spdx", "text"):
            self.clean(name)

    def test_layout_that_clang_format_would_change(self):
        self.write("part/main.c", SOURCE.replace("\treturn", "    return"))
        self.breach("format", "part/main.c:3: ")

    def test_a_source_without_a_licence(self):
        self.write("part/main.c", "int i;\n")
        self.breach("spdx", "part/main.c: no SPDX")

    def test_a_licence_whose_text_is_missing(self):
        self.write("part/more.h", "/* SPDX-License-Identifier: (GPL-2.0-or-later OR MIT) */\n")
        self.breach("spdx", "part/more.h: LICENSES/GPL-2.0.txt is missing")

    def test_a_text_that_no_source_names(self):
        self.write("LICENSES/Zlib.txt", "Anything goes.\n")
        self.breach("spdx", "LICENSES/Zlib.txt: no file names it")

    def test_blanks_at_the_end_of_a_line(self):
        self.write("part/main.c", SOURCE.replace("{\n", "{ \n"))
        self.breach("text", "part/main.c:3: ")

    def test_a_conflict_that_nobody_has_solved(self):
        self.write("part/main.c", SOURCE.replace("\treturn", "<<<<<<< HEAD\n\treturn"))
        self.breach("text", "part/main.c:4: a conflict")

    def test_a_file_without_a_last_end_of_line(self):
        self.write("part/main.c", SOURCE[:-1])
        self.breach("text", "part/main.c: does not end")

    def test_a_line_that_is_too_long_for_qemu(self):
        line = "x = " + "1" * 90 + "\n"
        self.write("qemu/tests/test_device.py", line)
        self.breach("text", "qemu/tests/test_device.py:1: more than 90")
        self.write("qemu/tests/test_device.py", "x = 1\n")
        self.write("qemu/tests/other.py", line)
        self.clean("text")

    def test_links_and_names_that_lead_nowhere(self):
        self.write("part/README.md", "[a](gone.c), [b](../README.md#gone), `part/gone.c`, `gone.h`\n")
        for told in ("to gone.c", "../README.md#gone", "no part/gone.c", "no file gone.h"):
            self.breach("text", told)

    def test_a_fault_that_clang_tidy_finds(self):
        self.write("part/main.c", SOURCE.replace("\treturn", "\tif (main());\n\treturn"))
        self.write("build/compile_commands.json", json.dumps([{
            "directory": str(self.root), "file": str(self.root / "part/main.c"), "command": "cc -c part/main.c"}]))
        self.breach("clang-tidy", "part/main.c:4: ")
        self.write("part/main.c", SOURCE)
        self.clean("clang-tidy")

    def test_what_a_build_leaves_is_not_looked_at(self):
        self.write("build/made.c", "int  i;")
        self.write("part/__pycache__/x.py", "x")
        for name in ("format", "spdx", "text"):
            self.clean(name)

    def test_in_a_checkout_new_files_count_and_ignored_ones_do_not(self):
        self.write(".gitignore", "/made.c\n")
        self.git("init", "-q")
        self.git("add", ".")
        self.write("made.c", "int  i;")
        self.clean("spdx")
        self.write("new.c", "int i;\n")
        self.breach("spdx", "new.c: no SPDX")


if __name__ == "__main__":
    unittest.main()
