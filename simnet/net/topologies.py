"""What the wires look like: a switched LAN, an office behind a WAN, one Wi-Fi access point, two sites, slow machines.

A topology makes the nodes' hosts and says what is between them; where the upstream stands; and what each node could
reach at best, which its time is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from simnet.net.host import Host
from simnet.net.link import GIGABIT, Link
from simnet.net.network import Net

LAN_LATENCY_S = 0.1e-3  # from a machine to the switch; twice that to the next one
INTERNET_LATENCY_S = 1e-3


@dataclass
class Topology:
    """nodes: hosts in their order. upstream: builds the upstream's hosts. port_rate: bytes a second of a usual port."""

    nodes: list[Host]
    upstreams: list[Host]
    port_rate: float
    upstream_rate: float
    shared_air: bool = False
    thin_rate: float | None = None
    slow: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)


Builder = Callable[[Net, int, float], Topology]


def lan(net: Net, nodes: int, upstream_rate: float) -> Topology:
    """Every machine at its own full-duplex port of one switch; the upstream is reached at its own rate."""
    hosts = [net.add_host(f"node-{number}", latency_s=LAN_LATENCY_S) for number in range(nodes)]
    return Topology(hosts, _upstreams(net, upstream_rate), GIGABIT, upstream_rate)


def office(net: Net, nodes: int, upstream_rate: float) -> Topology:
    """A LAN behind one line to the internet, which pages and files share; 10 ms away."""
    made = lan(net, nodes, GIGABIT * 8)
    line = {"in": net.link("wan>", upstream_rate), "out": net.link("wan<", upstream_rate)}
    names = {host.name for host in made.upstreams}

    def middle(a: Host, b: Host) -> tuple[list[Link], float]:
        if a.name in names:
            return [line["in"]], 5e-3
        return ([line["out"]], 5e-3) if b.name in names else ([], 0.0)

    net.middle = middle
    made.upstream_rate = upstream_rate
    return made


def wifi(net: Net, nodes: int, upstream_rate: float) -> Topology:
    """One access point of 200 Mbit/s of air for all: what a laptop sends to a laptop is in the air twice."""
    air = net.link("air", GIGABIT / 5, shared=True)
    hosts = [
        net.add_host(f"node-{number}", up=air, down=air, latency_s=1e-3, kind="wireless") for number in range(nodes)
    ]
    return Topology(hosts, _upstreams(net, upstream_rate), GIGABIT / 5, upstream_rate, shared_air=True)


def two_sites(net: Net, nodes: int, upstream_rate: float) -> Topology:
    """Two LANs and a line of 100 Mbit/s between them; multicast stays within each, and the upstream is at the first."""
    thin = {"there": net.link("thin>", GIGABIT / 10), "back": net.link("thin<", GIGABIT / 10)}
    hosts = [
        net.add_host(f"node-{number}", latency_s=LAN_LATENCY_S, segment="west" if number < (nodes + 1) // 2 else "east")
        for number in range(nodes)
    ]
    made = Topology(hosts, _upstreams(net, upstream_rate), GIGABIT, upstream_rate, thin_rate=GIGABIT / 10)

    def middle(a: Host, b: Host) -> tuple[list[Link], float]:
        east_a, east_b = a.segment == "east", b.segment == "east"
        if east_a == east_b:
            return [], 0.0
        return ([thin["back"]] if east_a else [thin["there"]]), 5e-3

    net.middle = middle
    return made


def mixed(net: Net, nodes: int, upstream_rate: float) -> Topology:
    """A LAN in which every tenth machine has a port of a quarter of the others' rate."""
    hosts = []
    for number in range(nodes):
        rate = GIGABIT / 4 if number % 10 == 9 else GIGABIT
        hosts.append(net.add_host(f"node-{number}", up=rate, down=rate, latency_s=LAN_LATENCY_S))
    slow = frozenset(host.name for host in hosts if host.up.rate < GIGABIT)
    return Topology(hosts, _upstreams(net, upstream_rate), GIGABIT, upstream_rate, slow=slow)


TOPOLOGIES: dict[str, Builder] = {"lan": lan, "office": office, "wifi": wifi, "two-sites": two_sites, "mixed": mixed}


def _upstreams(net: Net, rate: float) -> list[Host]:
    """The index and its file host: two names, as the large ones have it, at public addresses."""
    return [
        net.add_host(
            name,
            ip=ip,
            up=rate,
            down=max(rate, GIGABIT),
            latency_s=INTERNET_LATENCY_S,
            segment="internet",
            kind="upstream",
        )
        for name, ip in (("index.example", "198.51.100.1"), ("files.example", "198.51.100.2"))
    ]
