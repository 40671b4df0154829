#!/usr/bin/env python3
"""A PBX, phones, scanners and load for the machine of scripts/check-machine."""

import argparse
import os
import re
import socket
import sys
import threading
import time

PORT = 5060
PBX = "10.9.0.1"
USERS = ("alice", "bob")
ASK = "/run/pbx.sock"


def request(method, source, sport, name, user="alice", extra=""):
    """A request of some 600 bytes, as phones send it. The number or the knock is in `name`, the display name."""
    tag = os.urandom(4).hex()
    text = (
        f"{method} sip:{PBX} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {source}:{sport};branch=z9hG4bK{tag};rport\r\n"
        f"Max-Forwards: 70\r\n"
        f'From: "{name}" <sip:{user}@{PBX}>;tag={tag}\r\n'
        f"To: <sip:{user}@{PBX}>\r\n"
        f"Call-ID: {tag}@{source}\r\n"
        f"CSeq: 1 {method}\r\n"
        f"Contact: <sip:{user}@{source}:{sport}>\r\n"
        f"Expires: 3600\r\n"
        f"User-Agent: a phone of the project's\r\n"
        f"{extra}"
        f"Allow: INVITE, ACK, OPTIONS, BYE, CANCEL, SUBSCRIBE, NOTIFY, INFO, REFER, UPDATE\r\n"
        f"Content-Length: 0\r\n\r\n"
    )
    return text.encode()


class Pbx:
    """Answers requests, and counts the numbered ones and what came from each source."""

    def __init__(self):
        self.numbers = {}
        self.sources = {}
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # SO_RCVBUFFORCE
        self.udp.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
        self.udp.bind(("0.0.0.0", PORT))
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind(("0.0.0.0", PORT))
        self.tcp.listen(64)

    def run(self):
        for part in (self.answer_asked, self.serve_tcp):
            threading.Thread(target=part, daemon=True).start()
        while True:
            data, peer = self.udp.recvfrom(65536)
            if data.startswith(b"LOAD "):
                _, run, number, _ = data.split(b" ", 3)
                self.numbers.setdefault(run.decode(), set()).add(int(number))
                continue
            self.sources[peer[0]] = self.sources.get(peer[0], 0) + 1
            answer = self.answer(data.decode(errors="replace"))
            if answer:
                self.udp.sendto(answer.encode(), peer)

    def answer(self, text):
        if text.startswith("SIP/"):
            return None
        user = re.search(r"\r\nFrom:.*<sip:(\w+)@", text)
        known = user is not None and user.group(1) in USERS
        status = "200 OK" if known or not text.startswith("REGISTER") else "401 Unauthorized"
        kept = re.findall(r"\r\n((?:Via|From|To|Call-ID|CSeq|Contact|Expires):[^\r]*)", text)
        lines = [line + (";tag=pbx" if line.startswith("To:") else "") for line in kept]
        return "\r\n".join([f"SIP/2.0 {status}", *lines, "Content-Length: 0", "", ""])

    def serve_tcp(self):
        while True:
            connection, peer = self.tcp.accept()
            threading.Thread(target=self.serve_connection, args=(connection, peer), daemon=True).start()

    def serve_connection(self, connection, peer):
        while data := connection.recv(65536):
            self.sources[peer[0]] = self.sources.get(peer[0], 0) + 1

    def answer_asked(self):
        """One line in, one line out: "run NAME" and "source ADDRESS" are counts."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.bind(ASK)
            asked.listen()
            while True:
                with asked.accept()[0] as who:
                    what, name = who.recv(256).decode().split()
                    count = len(self.numbers.get(name, ())) if what == "run" else self.sources.get(name, 0)
                    who.sendall(str(count).encode())


def ask(what, name):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as pbx:
        pbx.connect(ASK)
        pbx.sendall(f"{what} {name}".encode())
        return int(pbx.recv(64))


def register(args):
    """Sends a REGISTER until the PBX has answered, as a phone does: status 0 if it has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind((args.source, args.sport))
        phone.settimeout(args.wait)
        for _ in range(args.tries):
            # As after the PBX has asked for them.
            words = f'Authorization: Digest username="{args.user}", realm="pbx", nonce="1", uri="sip:{PBX}", response="2"\r\n'
            phone.sendto(request("REGISTER", args.source, args.sport, args.name, args.user, words), (PBX, PORT))
            try:
                answer = phone.recv(65536).decode().split("\r\n")[0]
            except socket.timeout:
                continue
            print(answer)
            return 0 if " 200 " in answer or args.any else 1
    print("no answer")
    return 1


def load(args):
    """Sends numbered datagrams at an even rate for some seconds, or until a file is there. Prints how many, and the rate."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind((args.source, args.sport))
        phone.connect((PBX, PORT))
        phone.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        rest = request("OPTIONS", args.source, args.sport, "load")
        begin = time.monotonic()
        sent = 0
        while (elapsed := time.monotonic() - begin) < args.seconds and not (args.until and os.path.exists(args.until)):
            due = int(elapsed * args.rate) + 1
            # After a pause of the machine it does not catch up all at once.
            sent_at_once = 0
            while sent < due and sent_at_once < BURST:
                phone.send(b"LOAD %s %d " % (args.run.encode(), sent) + rest)
                sent += 1
                sent_at_once += 1
            time.sleep(TICK)
        print(sent, int(sent / (time.monotonic() - begin)))


def arrived(args):
    """Waits until all of a run's datagrams have come, or none has for two seconds. Prints how many."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 2:
        count = ask("run", args.run)
        if count >= args.sent:
            break
        if count != last:
            last, since = count, time.monotonic()
        time.sleep(0.1)
    print(ask("run", args.run))


def scan(args):
    """REGISTERs of a stranger, over UDP or one TCP connection. Prints how many answers there were."""
    kind = socket.SOCK_STREAM if args.tcp else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as scanner:
        scanner.bind((args.source, 0))
        if args.tcp:
            scanner.settimeout(5)
            scanner.connect((PBX, PORT))
        answers = 0
        for _ in range(args.count):
            data = request("REGISTER", args.source, scanner.getsockname()[1], "100", "100")
            try:
                scanner.send(data) if args.tcp else scanner.sendto(data, (PBX, PORT))
            except OSError:
                break
            scanner.settimeout(args.wait)
            try:
                answers += bool(scanner.recv(65536))
            except OSError:
                pass
        print(answers)


def hang(args):
    """Stops one thread of a process, as a debugger does, until a file is there. The rest of it goes on."""
    import ctypes

    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    threads = [
        int(thread)
        for thread in os.listdir(f"/proc/{args.pid}/task")
        if open(f"/proc/{args.pid}/task/{thread}/comm").read().strip() == args.thread
    ]
    for thread in threads:
        # PTRACE_SEIZE, and PTRACE_INTERRUPT.
        for what in (0x4206, 0x4207):
            if ptrace(what, thread, None, None):
                sys.exit(f"ptrace: {os.strerror(ctypes.get_errno())}")
    print(len(threads), flush=True)
    while not os.path.exists(args.until) and os.path.exists(f"/proc/{args.pid}"):
        time.sleep(0.1)


BURST = 200
TICK = 0.005


def main():
    words = argparse.ArgumentParser(description=__doc__)
    commands = words.add_subparsers(dest="command", required=True)
    commands.add_parser("pbx").set_defaults(run_command=lambda args: Pbx().run())

    one = commands.add_parser("register")
    one.add_argument("--name", default="a phone")
    one.add_argument("--user", default="alice")
    one.add_argument("--source", default="10.9.0.10")
    one.add_argument("--sport", type=int, default=5070)
    one.add_argument("--tries", type=int, default=10)
    one.add_argument("--wait", type=float, default=1)
    one.add_argument("--any", action="store_true", help="any answer is good")
    one.set_defaults(run_command=register)

    one = commands.add_parser("load")
    one.add_argument("--run", required=True)
    one.add_argument("--rate", type=int, required=True)
    one.add_argument("--seconds", type=float, default=600)
    one.add_argument("--until", default="")
    one.add_argument("--source", default="10.9.0.10")
    one.add_argument("--sport", type=int, default=5071)
    one.set_defaults(run_command=load)

    one = commands.add_parser("arrived")
    one.add_argument("run")
    one.add_argument("sent", type=int)
    one.set_defaults(run_command=arrived)

    one = commands.add_parser("scan")
    one.add_argument("--source", default="10.9.0.99")
    one.add_argument("--count", type=int, default=3)
    one.add_argument("--wait", type=float, default=0.5)
    one.add_argument("--tcp", action="store_true")
    one.set_defaults(run_command=scan)

    one = commands.add_parser("ask")
    one.add_argument("what", choices=("run", "source"))
    one.add_argument("name")
    one.set_defaults(run_command=lambda args: print(ask(args.what, args.name)))

    one = commands.add_parser("hang")
    one.add_argument("pid", type=int)
    one.add_argument("thread")
    one.add_argument("until")
    one.set_defaults(run_command=hang)

    args = words.parse_args()
    sys.exit(args.run_command(args))


if __name__ == "__main__":
    main()
