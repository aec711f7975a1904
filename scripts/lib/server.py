"""Starts, watches and stops a manylens server on loopback for the scripts that need one."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path


class Server:
    """A `manylens serve` process that is ready; stopped at the end of a `with` block."""

    def __init__(self, binary, backbone, data_dir, *flags, log=None, port=None, ready=True):
        self.port = port or free_port()
        self.log = open(log, "ab") if log else subprocess.DEVNULL
        command = [binary, "serve", "--backbone", backbone, "--data-dir", data_dir]
        command += ["--listen", f"127.0.0.1:{self.port}", "--access-log", "off", *flags]
        self.process = subprocess.Popen([str(part) for part in command], stdout=self.log, stderr=self.log)
        if ready:
            self.wait_ready()

    def wait_ready(self, seconds=120):
        limit = time.monotonic() + seconds
        while not self.answers("/readyz"):
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended with exit status {self.process.returncode} before it was ready")
            if time.monotonic() > limit:
                raise SystemExit(f"the server was not ready after {seconds} s")
            time.sleep(0.01)

    def answers(self, path):
        """Whether a path answers 200."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def resident_bytes(self):
        """Resident memory of the process (Linux)."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def forget_peak(self):
        """Starts the peak of resident memory anew (Linux): while loading, a mapped checkpoint counts too."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_bytes(self):
        """The most resident memory since the start or `forget_peak` (Linux)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))

    def processor_seconds(self):
        """Seconds of a core that the process has used (Linux)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metric(self, name):
        """The sum over all label sets of a metric."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as response:
            lines = response.read().decode().splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return sum(float(value) for series, value in samples if series.split("{")[0] == name)

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=60):
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.kill() if kind else self.stop()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
