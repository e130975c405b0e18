# SPDX-License-Identifier: GPL-2.0-or-later
"""A short storm of sudden ends; scripts/soak has a long one (storm.py)."""
import unittest

import storm


class Storm(unittest.TestCase):
    def test_nothing_is_left_of_who_ends_suddenly_and_the_others_go_on(self):
        told = []
        try:
            storm.run(seed=1, points=14, tell=told.append)
        except Exception:
            print("\n".join(told))
            raise
        self.assertEqual(len(told), 14)


if __name__ == "__main__":
    unittest.main()
