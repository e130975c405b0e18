# SPDX-License-Identifier: GPL-2.0-or-later
"""rooms.py finds each kind of breach, in a copy of the tree that has just that one."""
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


class Rooms(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        shutil.copytree(ROOT / "hostd", self.root / "hostd")
        (self.root / "docs").mkdir()
        shutil.copy(ROOT / "docs/design.md", self.root / "docs")

    def check(self, *options):
        done = subprocess.run([sys.executable, HERE / "rooms.py", "--root", self.root, *options],
                              capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def add(self, path, text):
        with open(self.root / path, "a", encoding="utf-8") as file:
            file.write(text)

    def table(self, old, new):
        path = self.root / "docs/design.md"
        text = path.read_text()
        self.assertEqual(text.count(old), 1, old)
        path.write_text(text.replace(old, new))

    def assert_breach(self, *options, says):
        """It is the only one, and it is named."""
        status, said = self.check(*options)
        self.assertEqual(status, 1, said)
        self.assertIn(says, said)
        self.assertIn(" 1 breaches", said)

    def test_the_tree_as_it_is_passes(self):
        status, said = self.check()
        self.assertEqual(status, 0, said)

    def test_a_step_upwards_by_an_include_fails(self):
        self.add("hostd/vm/cq.c", '#include "worker/worker.h"\n')
        self.assert_breach(says='hostd/vm/cq.c: it includes "worker/worker.h", but vm may not use worker')

    def test_an_include_by_a_relative_path_fails_too(self):
        self.add("hostd/lib/log.c", '#include "../config/config.h"\n')
        self.assert_breach(says="hostd/lib/log.c: it includes")

    def test_an_include_in_angle_brackets_fails_too(self):
        self.add("hostd/lib/log.c", "#  include <config/config.h>\n")
        self.assert_breach(says="hostd/lib/log.c: it includes")

    def test_admin_may_not_know_the_connection_manager(self):
        self.add("hostd/admin/admin.c", '#include "fabric/verbs/cm/cm.h"\n')
        self.assertIn("admin may not use fabric/verbs/cm", self.check()[1])

    def test_a_fabric_may_not_use_another(self):
        self.add("hostd/fabric/loopback/qp.c", '#include "fabric/verbs/cm/cm.h"\n')
        self.assert_breach(says="fabric/* may not use fabric/verbs/cm")

    def test_two_fabrics_of_one_row_are_two_rooms(self):
        (self.root / "hostd/fabric/another").mkdir()
        self.add("hostd/fabric/another/another.c", '#include "fabric/loopback/qp.h"\n')
        self.assertIn("fabric/* may not use fabric/*", self.check()[1])

    def test_what_is_private_is_not_for_others(self):
        self.add("hostd/vm/cq.c", '#include "memory/private.h"\n')
        self.assert_breach(says='hostd/vm/cq.c: it includes "memory/private.h", which is not for others')

    def test_a_header_of_the_room_alone_is_not_for_others(self):
        self.add("hostd/main.c", '#include "session/link.h"\n')
        self.assert_breach(says='hostd/main.c: it includes "session/link.h", which is not for others')

    def test_private_headers_have_one_name(self):
        self.add("hostd/worker/worker-internal.h", "")
        self.assert_breach(says="hostd/worker/worker-internal.h: what is private is named private.h")

    def test_a_public_function_carries_a_name_of_its_room(self):
        self.add("hostd/worker/sleep.c", "\nint *snore(struct worker *worker,\n\t   int loudness)\n{\n\treturn 0;\n}\n")
        self.assert_breach(says="hostd/worker/sleep.c: snore() carries neither")

    def test_a_static_function_may_have_any_name(self):
        self.add("hostd/worker/sleep.c", "\nstatic int snore(void)\n{\n\treturn 0;\n}\n")
        self.assertEqual(self.check()[0], 0)

    def test_a_circle_in_the_table_fails(self):
        self.table("| all | `lib` `config` `memory` `fabric` |", "| all | `lib` `config` `memory` `fabric` `worker` |")
        self.assert_breach(says="vm uses worker, which does not stand above it")

    def test_a_file_outside_of_all_rooms_fails(self):
        (self.root / "hostd/attic").mkdir()
        self.add("hostd/attic/attic.c", "")
        self.assert_breach(says="hostd/attic/attic.c: it is in no room")

    def test_a_room_without_files_fails(self):
        shutil.rmtree(self.root / "hostd/ctl")
        self.assert_breach(says="room ctl has no files")

    def test_a_call_upwards_fails_without_any_include(self):
        build = self.root / "build"
        self.compile(build, "vm/fault", "void vm_fail(void) { }")
        self.compile(build, "lib/log", "void vm_fail(void); void log_init(void) { vm_fail(); }")
        self.assert_breach("--build", build,
                           says="hostd/lib/log.c: it uses vm_fail of vm/fault.c, but lib may not use vm")

    def test_a_call_downwards_passes(self):
        build = self.root / "build"
        self.compile(build, "vm/fault", "void log_init(void); void vm_fail(void) { log_init(); }")
        self.compile(build, "lib/log", "void log_init(void) { }")
        status, said = self.check("--build", build)
        self.assertEqual(status, 0, said)

    def test_a_build_without_objects_is_no_success(self):
        self.assertNotEqual(self.check("--build", self.root)[0], 0)

    def compile(self, build, source, text):
        to = build / f"hostd/CMakeFiles/pvhcad_core.dir/{source}.c.o"
        to.parent.mkdir(parents=True)
        subprocess.run(["cc", "-x", "c", "-c", "-o", to, "-"], input=text, text=True, check=True)


if __name__ == "__main__":
    unittest.main()
