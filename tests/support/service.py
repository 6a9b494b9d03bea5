# SPDX-License-Identifier: MIT
"""
A service manager as systemd is one to its services: reads the unit files of examples/systemd/, holds the sockets of the socket units (on free ports),
starts the service's command with them as descriptors 3 and on, and listens to what it is told over NOTIFY_SOCKET.
"""
import configparser
import os
import re
import select
import socket
import sys

from .gateway import ROOT

UNITS = ROOT / "examples/systemd"
LAUNCH = """import fcntl, os, sys
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",") if fd]
for n, fd in enumerate(fds):
    os.dup2(fd, 3 + n)
    os.close(fd)
os.environ["LISTEN_PID"] = os.environ.get("LISTEN_PID") or str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


def unit(name):
    """A unit file as {section: {key: value}}; repeated keys are not used in ours."""
    parser = configparser.ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#")
    parser.optionxform = str
    parser.read_string((UNITS / name).read_text())
    return parser


class Manager:
    """Holds the sockets, name -> socket, and hears what services say."""

    def __init__(self, *socket_units):
        self.sockets, self.ports = {}, {}
        for name in socket_units:
            section = unit(name)["Socket"]
            held = socket.create_server(("127.0.0.1", 0), backlog=int(section.get("Backlog", 1024)))
            self.sockets[section["FileDescriptorName"]] = held
            self.ports[section["ListenStream"]] = "127.0.0.1:%d" % held.getsockname()[1]
        self.heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.name = f"@moongate-test-{os.getpid()}-{id(self)}"
        self.heard.bind("\0" + self.name[1:])

    def service(self, lab, url, **env):
        """A gateway with the example's configuration, not started: addresses are those of the sockets, else free ones."""
        text = (UNITS / "gateway.lua").read_text()
        text = re.sub(r'"127\.0\.0\.1:\d+"', lambda m: '"%s"' % self.ports.get(m[0][1:-1], "127.0.0.1:0"), text)
        made = lab.gateway(text.replace("drain_time = 30", "drain_time = 10"),
                           env={"OPENAI_URL": url, "NOTIFY_SOCKET": self.name, "MOONGATE_ADMIN_TOKEN": "", **env})
        if self.sockets:
            self.pass_to(made, **env)
        return made

    def pass_to(self, gateway, **env):
        held = [s.fileno() for s in self.sockets.values()]
        gateway._env.update({"LISTEN_FDS": str(len(held)), "LISTEN_FDNAMES": ":".join(self.sockets), **env})
        gateway.launcher = (sys.executable, "-c", LAUNCH, ",".join(map(str, held)))
        gateway.pass_fds = held

    def next(self, patience=20):
        """The next message as {key: value}."""
        assert select.select([self.heard], [], [], patience)[0], "the service said nothing"
        return dict(line.split("=", 1) for line in self.heard.recv(4096).decode().splitlines())

    def fill(self):
        """Until a message more would have to wait."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
            full.setblocking(False)
            try:
                while True:
                    full.sendto(b"X=1", "\0" + self.name[1:])
            except BlockingIOError:
                pass

    def close(self):
        for held in [*self.sockets.values(), self.heard]:
            held.close()
