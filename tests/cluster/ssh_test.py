#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Workers by ssh from a real sshd on loopback; connections, workers and sshd die in the middle: nothing lost or twice.

   ssh_test.py --program KERNELITES --data ROOT [--seed N]

sshd, its host key, a user's key and both configurations lie in a temporary folder; the port is a free one above 1024.
The workers compute nothing but wait. Besides the faults the controller itself is killed: what it left at the other end
must end by itself, and the same command goes on.
"""
import argparse
import getpass
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import endurance_rig as rig  # noqa: E402

SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/user_key.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
MaxStartups 20
"""
CLIENT = """\
Host node
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  StrictHostKeyChecking yes
  ControlMaster no
  ServerAliveInterval 15
"""
SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
CANDIDATES = 120


class Server:
    """sshd and all keys, in a folder that is removed with them."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        values = {"port": self.port, "folder": folder, "user": getpass.getuser()}
        (folder / "sshd_config").write_text(SERVER.format(**values))
        (folder / "ssh_config").write_text(CLIENT.format(**values))
        host_key = (folder / "host_key.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd locks up its unprivileged half
        self.start()

    def start(self):
        """Returns once it listens; the one before is gone."""
        with open(self.folder / "sshd.log", "ab") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise SystemExit(f"sshd does not listen: {(self.folder / 'sshd.log').read_text()[-500:]}") from None
                time.sleep(0.05)

    def sessions(self):
        """Processes that hold a connection each, directly below the listener."""
        return [child[0] for child in rig.children_of(self.process.pid) if child[1].startswith("sshd")]

    def stop(self):
        self.process.kill()
        self.process.wait()


class SshTest:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        (folder / "ssh").mkdir()
        self.server = Server(folder / "ssh")
        self.draw = random.Random(options.seed)
        self.log, self.problems, self.killed = folder / "log", [], 0
        self.mark = str(folder / "answered").encode()

    def arguments(self, launch, workers):
        endpoint = rig.write_replies(self.folder / "replies", 400, 1)
        return ["--task", "rmsnorm", "--data", self.options.data, "--device", "vgpu", "--worker", "kernelites-worker",
                "--launch", launch, "--workers", workers, "--endpoint", endpoint, "--budget-candidates", CANDIDATES,
                "--patience", 0, "--in-flight", 8, "--operators", "refine", "--deterministic"]

    def remote(self):
        """The words of docs/cluster.md, with this server's configuration."""
        return (f"ssh -F {self.folder}/ssh/ssh_config -oBatchMode=yes node env KERNELITES_TEST_WORKER={{worker}} "
                f"{rig.WORKER} --wait 0.1 --log {self.folder}/answered")

    def workers(self):
        """At the other end: they have the log's name in their command line and are no ssh."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
                name = (entry / "comm").read_text().strip() if self.mark in words else ""
            except OSError:
                continue
            if name.startswith("python"):
                found.append(int(entry.name))
        return found

    def kill_one(self, pids, controller):
        if pids:
            os.kill(self.draw.choice(pids), signal.SIGKILL)
            self.killed += 1
        return controller

    def kill_worker(self, controller):
        return self.kill_one(self.workers(), controller)

    def kill_client(self, controller):
        return self.kill_one([child[0] for child in rig.children_of(controller.pid) if child[1] == "ssh"], controller)

    def break_connection(self, controller):
        return self.kill_one(self.server.sessions(), controller)

    def restart_server(self, controller):
        """The node is away for a second: no connection can be made."""
        for session in self.server.sessions():
            os.kill(session, signal.SIGKILL)
        self.server.stop()
        time.sleep(1)
        self.server.start()
        self.killed += 1
        return controller

    def kill_controller(self, controller):
        """What it left at the other end sees the end of its input and ends; the same command goes on."""
        controller.kill()
        end = time.monotonic() + 20
        while self.workers():
            if time.monotonic() > end:
                self.problems.append(f"workers live on without a controller: {self.workers()}")
                break
            time.sleep(0.1)
        self.killed += 1
        return self.start("disturbed", self.remote(), 3)

    def start(self, name, launch, workers):
        return rig.Controller(self.options.program, self.folder / name, self.arguments(launch, workers), self.log)

    def run(self, name, launch, workers, acts=()):
        controller, acts = self.start(name, launch, workers), list(acts)
        end, next_act = time.monotonic() + 240, time.monotonic() + 2
        while controller.wait(0.1) is None and time.monotonic() < end:
            if acts and time.monotonic() > next_act and self.workers():
                controller = acts.pop(0)(controller)
                next_act = time.monotonic() + 0.7
        code = controller.wait(0)
        controller.kill()
        if code != 0:
            raise SystemExit(f"{name}: exit code {code}\n{self.log.read_text(errors='replace')[-2000:]}")
        if acts:
            self.problems.append(f"{name} was over before {len(acts)} of the faults")
        return self.folder / name

    def check(self, run):
        code, text = rig.ask(self.options.program, "archive", "verify", run)
        if code != 0:
            self.problems.append(f"{run.name}: {text}")
        told, candidates, doubled, failed = rig.rows_of(
            run, "SELECT (SELECT count(*) FROM candidate WHERE told IS NOT NULL), (SELECT count(*) FROM candidate), "
            "(SELECT count(*) - count(DISTINCT request_id) FROM evaluation), "
            "(SELECT count(*) FROM evaluation WHERE state = 'failed')")[0]
        if told != candidates or doubled or failed:
            self.problems.append(f"{run.name}: {told} of {candidates} told, {doubled} doubled, {failed} failed")
        print(f"{run.name}: {candidates} candidates, {told} told, {failed} failed")

    def main(self):
        plain = self.run("undisturbed", f"{rig.WORKER} --log {self.folder}/plain", 2)
        self.check(plain)
        disturbed = self.run("disturbed", self.remote(), 3,
                             [self.kill_worker, self.kill_client, self.break_connection, self.restart_server,
                              self.kill_controller, self.kill_worker, self.break_connection])
        self.check(disturbed)
        answered = len((self.folder / "answered").read_text().splitlines())
        print(f"{answered} requests answered over ssh, {self.killed} faults of 7")
        if answered < CANDIDATES or self.killed < 5:
            self.problems.append("too little went over ssh, or too little was killed")
        dumps = [rig.ask(self.options.program, "dump", run)[1] for run in (plain, disturbed)]
        if dumps[0] != dumps[1] or len(dumps[0]) < 2000:
            self.problems.append("the disturbed run's dump is another")
        time.sleep(1)
        if self.workers():
            self.problems.append(f"workers are left: {self.workers()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not SSHD or not all(map(shutil.which, ("ssh", "ssh-keygen"))):
        print("OpenSSH's server and client are not here (tools/setup --cluster installs them)")
        return 1
    with tempfile.TemporaryDirectory(prefix="kernelites_ssh_") as name:
        test = SshTest(options, Path(name))
        try:
            test.main()
        finally:
            test.server.stop()
        for problem in test.problems:
            print(problem)
        print("0 passed, 1 failed" if test.problems else "1 passed, 0 failed")
        return 1 if test.problems else 0


if __name__ == "__main__":
    sys.exit(main())
