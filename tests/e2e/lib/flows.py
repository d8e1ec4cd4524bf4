#!/usr/bin/env python3
"""Real flows between the hosts of traffic.sh.

flows.py serve              in the server: listens on everything below, prints READY
flows.py reach              in the client: does traffic pass the router? waits for it a little
flows.py KIND [COUNT]       in the client: makes flows. Kinds that stay open print HOLD; for every line on stdin each flow
                            then says something and hears it back: "N alive, M broken". They end with stdin.

Only what Debian's python3-minimal has."""
import socket
import struct
import sys
import threading
import time

SERVER, SERVER6, ROUTER = "10.77.2.2", "fd77:2::2", "10.77.1.1"
ECHO, DRIP, SILENT, DNS = 9000, 9001, 81, 53


# --- the server ---

def echo(connection, _):
    while data := connection.recv(4096):
        connection.sendall(data)


def drip(connection, _):
    """Sends a byte now and then, also after the client has closed its side: a download, half closed."""
    while True:
        connection.sendall(b".")
        time.sleep(0.2)


def quietly(talk, connection, address):
    try:
        talk(connection, address)
    except OSError:
        pass
    connection.close()


def listen(family, address, port, talk):
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((address, port))
    listener.listen(1024)

    def accept():
        while True:
            threading.Thread(target=quietly, args=(talk, *listener.accept()), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()


def answer_with_name(address, port):
    """A datagram is answered with the address of the host that got it."""
    server = socket.socket(type=socket.SOCK_DGRAM)
    server.bind((address, port))

    def answer():
        while True:
            _, peer = server.recvfrom(2048)
            server.sendto(address.encode(), peer)
    threading.Thread(target=answer, daemon=True).start()


def serve():
    listen(socket.AF_INET, "", ECHO, echo)
    listen(socket.AF_INET6, "::", ECHO, echo)
    listen(socket.AF_INET, "", DRIP, drip)
    for address in (SERVER, "10.77.2.3"):
        answer_with_name(address, DNS)
    print("READY", flush=True)
    threading.Event().wait()


# --- the client ---

class Stream:
    """An open connection to the echo."""

    def __init__(self, address, port=ECHO):
        self.socket = socket.create_connection((address, port), 5)
        self.speak()

    def speak(self):
        self.socket.sendall(b"x")
        return self.socket.recv(64) == b"x"


class HalfClosed:
    """The client has closed its side and still reads."""

    def __init__(self):
        self.socket = socket.create_connection((SERVER, DRIP), 5)
        self.socket.recv(64)
        self.socket.shutdown(socket.SHUT_WR)

    def speak(self):
        self.socket.settimeout(0.01)
        try:
            while self.socket.recv(4096):
                pass
        except TimeoutError:
            pass
        self.socket.settimeout(3)
        return len(self.socket.recv(64)) > 0


class Datagrams:
    """Questions from one port to the router's own address, which sends them on to a backend."""

    def __init__(self):
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.settimeout(2)
        self.socket.connect((ROUTER, DNS))
        self.first = self.ask()

    def ask(self):
        self.socket.send(b"who?")
        return self.socket.recv(64)

    def speak(self):
        """The same backend as at first?"""
        return self.ask() == self.first


def reach():
    for _ in range(40):
        try:
            Stream(SERVER)
            Stream(SERVER6)
            return
        except OSError:
            time.sleep(0.25)
    sys.exit("the server cannot be reached")


def send(count, address, port):
    """Datagrams, each from a port of its own, that nobody answers."""
    for _ in range(count):
        socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", (address, port))


def flood(count, address="10.77.2.200"):
    """Many at once, each to a port of its own."""
    client = socket.socket(type=socket.SOCK_DGRAM)
    for index in range(count):
        client.sendto(b"x", (address, 20000 + index))


def half_open(count):
    kept = []
    for _ in range(count):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((SERVER, SILENT))
        kept.append(client)


def closed(count, address=SERVER, port=ECHO):
    for _ in range(count):
        Stream(address, port).socket.close()


def reset(count):
    for _ in range(count):
        stream = Stream(SERVER).socket
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()


OPEN = {
    "established": lambda: Stream(SERVER),
    "established6": lambda: Stream(SERVER6),
    "dnat": lambda: Stream(ROUTER, 8080),
    "half_closed": HalfClosed,
    "dns": Datagrams,
}
DONE = {
    "time_wait": closed,
    "protected": lambda count: closed(count, ROUTER, 8080),
    "close": reset,
    "syn_sent": half_open,
    "unreplied": lambda count: send(count, "10.77.2.200", 9),
    "unreplied_too": lambda count: send(count, "10.77.2.200", 10),
    "flood": flood,
    "flood_too": lambda count: flood(count, "10.77.2.201"),
}


def alive(flow):
    try:
        return flow.speak()
    except OSError:
        return False


def hold(make, count):
    flows = [make() for _ in range(count)]
    print("HOLD", flush=True)
    for _ in sys.stdin:
        well = sum(alive(flow) for flow in flows)
        print(f"{well} alive, {len(flows) - well} broken", flush=True)


def main(kind, count=1):
    if kind == "serve":
        serve()
    elif kind == "reach":
        reach()
    elif kind in OPEN:
        hold(OPEN[kind], int(count))
    elif kind in DONE:
        DONE[kind](int(count))
    else:
        sys.exit(f"no kind {kind}; there are: {' '.join(list(OPEN) + list(DONE))}")


main(*sys.argv[1:])
