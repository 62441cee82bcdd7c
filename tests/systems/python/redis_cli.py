"""redis-cli: the commands that a newcomer tries first, in a terminal and through a pipe.

Shown: both look to the letter as recorded in `sessions`, from redis-cli and redis-server 7.0.15; pops
that wait, without an end (0) or for 30 s, are served as soon as another client pushes.

In a session, "> " stands before what the user types, "& " before what another client sends once the
user's command waits; all other lines are printed by redis-cli. Times that it shows are left out. With
`record` as its argument this program writes the replies of the server anew.
"""

import difflib
import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import time

from common import PORTS, check, connect, wait_for

SESSIONS = pathlib.Path(__file__).parent.parent / "sessions"
DEADLINE = 20
PROMPT = re.compile(rb"127\.0\.0\.1:\d+> $")
END = re.compile(rb"end-of-reply\n$")
# Shown after commands that took more than half a second.
TIME = re.compile(r"\(\d+\.\d\ds\)")
COMMAND = ["redis-cli", "-p", str(PORTS[0])]
# No traces in the home folder, and nothing of what is there.
ENVIRONMENT = {**os.environ, "TERM": "dumb", "REDISCLI_HISTFILE": "/dev/null", "REDISCLI_RCFILE": "/dev/null"}


def read_until(fd, end):
    """The lines that are printed before `end`."""
    seen, deadline = b"", time.monotonic() + DEADLINE
    while not (found := end.search(seen)):
        ready, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
        check(ready, f"not within {DEADLINE} s: {end.pattern} after {seen}")
        seen += os.read(fd, 65536)
    return seen[:found.start()].decode().replace("\r", "").splitlines()


class Terminal:
    """A dumb one, in which redis-cli formats replies but does not draw."""

    def __init__(self):
        pid, self.fd = pty.fork()
        if pid == 0:
            os.execvpe(COMMAND[0], COMMAND, ENVIRONMENT)
        read_until(self.fd, PROMPT)

    def send(self, line):
        os.write(self.fd, line.encode() + b"\n")

    def reply(self):
        # The first line is the echo of what was typed.
        return read_until(self.fd, PROMPT)[1:]


class Pipe:
    """Replies are raw, without prompts: an ECHO after each command tells where its reply ends."""

    def __init__(self):
        self.process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT)

    def send(self, line):
        self.process.stdin.write(line.encode() + b"\nECHO end-of-reply\n")
        self.process.stdin.flush()

    def reply(self):
        return read_until(self.process.stdout.fileno(), END)


def play(session, cli):
    """What redis-cli shows when the session's commands are given to it."""
    other, shown = connect(), []
    commands = [line for line in session if line.startswith(("> ", "& "))]
    for line, following in zip(commands, [*commands[1:], ""]):
        if line.startswith("& "):
            continue
        shown.append(line)
        cli.send(line[2:])
        if following.startswith("& "):
            wait_for(lambda: other.info("clients")["blocked_clients"] == 1, DEADLINE, f"{line} waits")
            shown.append(following)
            other.execute_command(*following[2:].split())
        shown += [printed for printed in cli.reply() if not TIME.fullmatch(printed)]
    check(other.dbsize() == 0, "the session leaves nothing for the next")
    return shown, len(commands)


def main():
    counts = []
    for cli in (Terminal, Pipe):
        path = SESSIONS / f"newcomer.{cli.__name__.lower()}.txt"
        session = path.read_text().splitlines()
        shown, count = play(session, cli())
        counts.append(count)
        if sys.argv[1:] == ["record"]:
            path.write_text("\n".join(shown) + "\n")
            continue
        different = "\n".join(difflib.unified_diff(session, shown, path.name, "now", lineterm=""))
        check(not different, f"redis-cli shows something else:\n{different}")
    check(min(counts) > 30, f"{counts} commands")
    print(f"{counts[0]} commands in a terminal and {counts[1]} in a pipe look as with Redis")


if __name__ == "__main__":
    main()
