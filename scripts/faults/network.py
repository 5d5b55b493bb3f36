"""Hosts on one machine: network namespaces, joined by a bridge in our own, which is private too.

`scripts/chaos` runs in a namespace of its own where it may make one (`unshare --net`), so what is
made here is nobody else's, and ends with it. The addresses are those that are kept for examples.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from workers.stack.supervisor import StackError

OWN_ADDRESS = "192.0.2.1"
PRIVATE_VARIABLE = "PRESSROOM_CHAOS_PRIVATE_NETWORK"  # set by scripts/chaos
_BRIDGE = "bridge"


def is_private() -> bool:
    """Whether we are in a network namespace of our own, and may make others."""
    return PRIVATE_VARIABLE in os.environ


@dataclass(frozen=True, slots=True)
class Host:
    """One of them, by its number from 1."""

    number: int

    @property
    def namespace(self) -> str:
        return f"pressroom-{os.getpid()}-{self.number}"

    @property
    def address(self) -> str:
        return f"192.0.2.{self.number + 1}"

    @property
    def port(self) -> str:
        """Its end of the cable, in the bridge."""
        return f"host{self.number}"

    def command(self, *words: str) -> Sequence[str]:
        """What runs a command there."""
        return ["ip", "netns", "exec", self.namespace, *words]

    async def cut_off(self) -> None:
        """Whatever is sent to it or by it vanishes; nobody is told."""
        await _ip("link", "set", self.port, "nomaster")

    async def join(self) -> None:
        await _ip("link", "set", self.port, "master", _BRIDGE)


@asynccontextmanager
async def make_hosts(count: int) -> AsyncIterator[list[Host]]:
    """So many, each of which reaches us at OWN_ADDRESS, and we it.

    Raises:
        StackError: we may not.
    """
    hosts = [Host(number) for number in range(1, count + 1)]
    await _ip("link", "add", _BRIDGE, "address", _mac(0), "type", "bridge")
    made = []
    try:
        await _ip("address", "add", f"{OWN_ADDRESS}/24", "dev", _BRIDGE)
        await _ip("link", "set", _BRIDGE, "up")
        for host in hosts:
            await _ip("netns", "add", host.namespace)
            made.append(host)
            await _connect(host)
        yield hosts
    finally:
        for host in made:
            await _ip("netns", "delete", host.namespace)
        await _ip("link", "delete", _BRIDGE)


async def _connect(host: Host) -> None:
    """Lay its cable. Who has which address is written down on both sides, so that a cut is not
    noticed by nobody answering to that question.
    """
    inside = ("-n", host.namespace)
    peer = ("peer", "name", "eth0", "address", _mac(host.number), "netns", host.namespace)
    await _ip("link", "add", host.port, "type", "veth", *peer)
    await _ip(*inside, "address", "add", f"{host.address}/24", "dev", "eth0")
    for name in ("lo", "eth0"):
        await _ip(*inside, "link", "set", name, "up")
    await _ip(*inside, *_known(OWN_ADDRESS, 0, "eth0"))
    await _ip(*_known(host.address, host.number, _BRIDGE))
    await _ip("link", "set", host.port, "up")
    await host.join()


def _known(address: str, number: int, device: str) -> Sequence[str]:
    where = ("lladdr", _mac(number), "dev", device)
    return ("neighbour", "replace", address, *where, "nud", "permanent")


def _mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


async def _ip(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "ip", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise StackError(f"ip {' '.join(words)}: {said.decode().strip()}")
