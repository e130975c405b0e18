# SPDX-License-Identifier: GPL-2.0-or-later
"""GET /metrics of a real pvhcad, by those who behave and those who do not."""
import os
import re
import socket
import stat
import struct
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

from pvhca import *

TRIES = 20
SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})?'
                    r' ([0-9]+)$')


def free_port(family=socket.AF_INET, host="127.0.0.1"):
    with socket.socket(family) as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def parse(text):
    """What a scraper makes of it: samples by name and labels; types by name."""
    samples, types, helped = {}, {}, set()
    assert text.endswith("\n")
    current = None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split(" ", 3)[2])
        elif line.startswith("# TYPE "):
            current, kind = line.split(" ")[2:]
            assert current in helped and current not in types, line
            types[current] = kind
        else:
            name, labels, value = SAMPLE.match(line).groups()
            assert name == current, line  # all of a metric stand together
            key = name, tuple(re.findall(r'([a-z]+)="((?:[^"\\]|\\.)*)"',
                                         labels or ""))
            assert key not in samples, line
            samples[key] = int(value)
    return samples, types


class Metrics(unittest.TestCase):
    def setUp(self):
        self.port = free_port()
        self.daemon = Daemon("--metrics", "127.0.0.1:%d" % self.port)
        self.addCleanup(self.daemon.clean_up)
        self.url = "http://127.0.0.1:%d/metrics" % self.port

    def tearDown(self):
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log()[-8000:])
        self.assertNotIn("Sanitizer", self.daemon.log())
        self.assertNotIn("runtime error", self.daemon.log())

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port), 20)
        self.addCleanup(s.close)
        return s

    def ask(self, request):
        s = self.connect()
        s.sendall(request)
        return self.rest(s)

    def rest(self, s):
        text = b""
        while True:
            data = s.recv(65536)
            if not data:
                return text
            text += data

    def scrape(self):
        with urllib.request.urlopen(self.url, timeout=PATIENCE) as answer:
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.headers["Content-Type"],
                             "text/plain; version=0.0.4; charset=utf-8")
            return parse(answer.read().decode())

    def scrape_steady(self):
        """Statistics and samples of one state: an answered command's interrupt may still have to be raised, and counted."""
        for _ in range(TRIES):
            stats = self.daemon.stats()
            samples, types = self.scrape()
            if self.daemon.stats()["sessions"] == stats["sessions"]:
                return stats, samples, types
        self.fail("the statistics do not come to rest")

    def test_the_statistics_are_told(self):
        guests = [Guest(self.daemon, name=name) for name in (b"one", b'q"\\')]
        for guest in guests:
            guest.world()
        stats, samples, types = self.scrape_steady()
        self.assertEqual(samples["pvhca_sessions", ()], 2)
        for session in stats["sessions"]:
            name = session["name"].replace("\\", "\\\\").replace('"', '\\"')
            labels = ("session", str(session["id"])), ("vm", name)
            for member, value in session.items():
                if member in ("id", "name", "uuid", "state", "network", "quota", "regions"):
                    continue
                # A rate that is allowed is not one that is measured.
                metric = "pvhca_" + {"rate": "rate_limit", "message_rate": "message_rate_limit"}.get(member, member)
                if metric not in types:
                    metric += "_total"
                    self.assertEqual(types[metric], "counter")
                else:
                    self.assertEqual(types[metric], "gauge")
                self.assertEqual(samples[metric, labels], value, metric)
            for member, value in session["quota"].items():
                self.assertEqual(samples["pvhca_%s_quota" % member, labels],
                                 value)
        for guest in guests:
            guest.close()

    def test_sessions_come_and_go(self):
        self.assertEqual(self.scrape()[0]["pvhca_sessions", ()], 0)
        guest = Guest(self.daemon)
        self.assertEqual(self.scrape()[0]["pvhca_sessions", ()], 1)
        guest.close()
        wait_for(lambda: self.scrape()[0]["pvhca_sessions", ()] == 0,
                 "the session to end")

    def test_answers(self):
        for request, status in (
                (b"GET /metrics HTTP/1.0\r\n\r\n", b"200 OK"),
                (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nmore", b"200 OK"),
                (b"GET / HTTP/1.0\r\n\r\n", b"404 Not Found"),
                (b"POST /metrics HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
                 b"405 Method Not Allowed"),
                (b"nonsense\r\n\r\n", b"400 Bad Request"),
                (b"\0" * 100 + b"\r\n\r\n", b"400 Bad Request"),
                (b"x" * 10000, b"431 Request Header Fields Too Large")):
            with self.subTest(request[:20]):
                answer = self.ask(request)
                head, body = answer.split(b"\r\n\r\n", 1)
                self.assertEqual(head.split(b"\r\n")[0], b"HTTP/1.0 " + status)
                self.assertIn(b"Content-Length: %d\r\n" % len(body), head)

    def test_head_has_no_body(self):
        answer = self.ask(b"HEAD /metrics HTTP/1.0\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.0 200 OK\r\n"))
        self.assertTrue(answer.endswith(b"\r\n\r\n"))

    def test_a_request_may_come_byte_by_byte(self):
        s = self.connect()
        for byte in b"GET /metrics HTTP/1.0\r\n\r\n":
            s.sendall(bytes([byte]))
            time.sleep(0.005)
        self.assertTrue(self.rest(s).startswith(b"HTTP/1.0 200 "))

    def test_slow_clients_hold_up_nobody_and_are_dropped(self):
        began = time.monotonic()
        fds = self.daemon.fds()
        # 16 are served; others fit in the kernel's queue.
        slow = [self.connect() for _ in range(30)]
        for i, s in enumerate(slow):
            s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n" if i % 2 else b"GET /")
        wait_for(lambda: self.daemon.fds() == fds + 16, "connections")
        # Guests and readers of statistics do not notice.
        guest = Guest(self.daemon)
        guest.world()
        guest.close()
        self.daemon.stats()
        self.assertLess(time.monotonic() - began, scaled(4))
        # Others wait until time is up for some.
        self.scrape()
        for s in slow:
            s.close()
        wait_for(lambda: self.daemon.fds() <= fds, "descriptors to be closed")

    def test_clients_that_reset_the_connection(self):
        for request in (b"", b"GET", b"GET /metrics HTTP/1.0\r\n\r\n"):
            for _ in range(20):
                s = self.connect()
                s.sendall(request)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
                s.close()
        self.scrape()

    def test_the_port_is_taken(self):
        with tempfile.NamedTemporaryFile() as config:
            done = subprocess.run(
                [os.environ["PVHCAD"], "--config", config.name, "--socket",
                 self.daemon.socket + "2", "--metrics",
                 "127.0.0.1:%d" % self.port], capture_output=True, text=True,
                timeout=PROGRAM_SECONDS)
        self.assertEqual(done.returncode, 1)
        self.assertIn("127.0.0.1:%d" % self.port, done.stderr)
        self.assertFalse(os.path.exists(self.daemon.socket + "2"))
        self.scrape()


class Places(unittest.TestCase):
    def start(self, *options, config=None):
        daemon = Daemon(*options, config=config)
        self.addCleanup(daemon.clean_up)
        return daemon

    def scrape(self, family, address):
        with socket.socket(family) as s:
            s.settimeout(PATIENCE)
            s.connect(address)
            s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            text = b""
            while True:
                data = s.recv(65536)
                if not data:
                    break
                text += data
        parse(text.split(b"\r\n\r\n", 1)[1].decode())

    def test_a_unix_socket_from_the_file(self):
        with tempfile.TemporaryDirectory(prefix="pvhca-") as folder:
            give_to_daemon(folder)
            path = os.path.join(folder, "metrics")
            daemon = self.start("--socket-mode", "600",
                                config="[pvhcad]\nmetrics=%s\n" % path)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            self.scrape(socket.AF_UNIX, path)
            self.assertEqual(daemon.stop(), 0)
            self.assertFalse(os.path.exists(path))

    def test_ipv6(self):
        try:
            port = free_port(socket.AF_INET6, "::1")
        except OSError:
            self.skipTest("no IPv6 here")
        self.start("--metrics", "[::1]:%d" % port)
        self.scrape(socket.AF_INET6, ("::1", port))

    def test_the_same_port_again_at_once(self):
        port = free_port()
        for _ in range(2):
            daemon = self.start("--metrics", "127.0.0.1:%d" % port)
            self.scrape(socket.AF_INET, ("127.0.0.1", port))
            self.assertEqual(daemon.stop(), 0)

    def test_what_is_not_loopback_is_refused(self):
        for value in ("0.0.0.0:9474", "[::]:9474", "192.0.2.1:9474",
                      "localhost:9474", "9474", "relative"):
            with self.subTest(value), tempfile.NamedTemporaryFile("w+") as f:
                f.write("[pvhcad]\nmetrics=%s\n" % value)
                f.flush()
                done = subprocess.run(
                    [os.environ["PVHCAD"], "--check-config", "--config",
                     f.name], capture_output=True, text=True, timeout=PROGRAM_SECONDS)
                self.assertEqual(done.returncode, 2)
                for word in (f.name, "[pvhcad]", "metrics", value):
                    self.assertIn(word, done.stderr)


if __name__ == "__main__":
    unittest.main()
