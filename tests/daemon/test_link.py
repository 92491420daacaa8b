"""What a machine's links and battery make of its node, over trees that look like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pcdn.swarm.giving.manners import SLOTS, SLOTS_SPARING, Manners
from p2pcdn_daemon.doors.link import Machine, default_links, leads_to_neighbours, look, manners_of

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
IPV6_DEFAULT = (
    f"{'0' * 32} 00 {'0' * 32} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth9\n"
)
IPV6_REJECT = f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n"


def route(link: str, metric: int = 100, flags: str = "0003") -> str:
    return f"{link}\t00000000\t0100000A\t{flags}\t0\t0\t{metric}\t00000000\t0\t0\t0\n"


class Kernel:
    """A tree like /sys and the tables of routes, in a directory of a test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.routes = HEAD

    def link(self, name: str, *, wireless: bool = False, uevent: str = "", up: bool = True) -> Kernel:
        path = self.root / "class/net" / name
        (path / "device").mkdir(parents=True)
        if wireless:
            (path / "wireless").mkdir()
        (path / "uevent").write_text(uevent + f"INTERFACE={name}\n")
        (path / "operstate").write_text("up\n" if up else "down\n")
        return self

    def power(self, name: str, **files: str) -> Kernel:
        path = self.root / "class/power_supply" / name
        path.mkdir(parents=True)
        for file, word in files.items():
            (path / file).write_text(word + "\n")
        return self

    def look(self) -> Machine:
        (self.root / "route").write_text(self.routes)
        return look(self.root, self.root / "route", self.root / "route6")


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_a_machine_on_a_wire_gives_freely(kernel: Kernel) -> None:
    kernel.link("eth0").power("AC", type="Mains", online="1")
    kernel.routes += route("eth0")
    assert kernel.look() == Machine()
    assert manners_of(Machine()) == Manners(None, SLOTS, True)


def test_a_machine_on_the_air_says_so_and_one_on_battery_alone_does_not() -> None:
    assert manners_of(Machine(wireless=True)).on_air
    assert not manners_of(Machine(on_battery=True)).on_air


def test_nothing_to_read_is_a_machine_on_a_wire(tmp_path: Path) -> None:
    assert look(tmp_path, tmp_path / "route", tmp_path / "route6") == Machine()


def test_of_two_ways_out_the_preferred_one_counts(kernel: Kernel) -> None:
    kernel.link("eth0").link("wlan0", wireless=True)
    kernel.routes += route("wlan0", 600) + route("eth0", 100)
    assert not kernel.look().wireless
    kernel.routes = HEAD + route("wlan0", 50) + route("eth0", 100)
    assert kernel.look().wireless


def test_behind_a_tunnel_the_device_that_is_up_counts(kernel: Kernel) -> None:
    kernel.link("eth0", up=False).link("wlp2s0", wireless=True)
    kernel.routes += route("wg0", 0)
    assert kernel.look().wireless


def test_a_mobile_modem_is_metered_unless_the_user_knows_better(kernel: Kernel) -> None:
    kernel.link("wwp0s20u4", uevent="DEVTYPE=wwan\n")
    kernel.routes += route("wwp0s20u4")
    machine = kernel.look()
    assert machine.modem
    assert manners_of(machine).slots == 0
    assert manners_of(machine, metered="no").slots == SLOTS
    assert manners_of(Machine(), metered="yes") == Manners(None, 0, False)


@pytest.mark.parametrize(
    ("supplies", "on_battery"),
    [
        ([("BAT0", {"type": "Battery", "status": "Discharging"})], True),
        ([("BAT0", {"type": "Battery", "status": "Charging"})], False),
        ([("BAT0", {"type": "Battery", "status": "Discharging"}), ("AC", {"type": "Mains", "online": "0"})], True),
        # A charger that is too weak for the load is a plug all the same.
        ([("BAT0", {"type": "Battery", "status": "Discharging"}), ("ucsi", {"type": "USB", "online": "1"})], False),
        ([("mouse", {"type": "Battery", "status": "Discharging", "scope": "Device"})], False),
        ([("BAT0", {})], False),
    ],
)
def test_a_battery_that_runs_down_is_told_from_a_plug(
    kernel: Kernel, supplies: list[tuple[str, dict[str, str]]], on_battery: bool
) -> None:
    for name, files in supplies:
        kernel.power(name, **files)
    assert kernel.look().on_battery is on_battery


@pytest.mark.parametrize("machine", [Machine(wireless=True), Machine(on_battery=True), Machine(True, False, True)])
def test_on_the_air_and_on_battery_a_node_gives_less_and_lets_others_go_first(machine: Machine) -> None:
    assert manners_of(machine, upload_limit_bytes_s=5) == Manners(5, SLOTS_SPARING, False, on_air=machine.wireless)


def test_the_links_of_the_default_routes_are_read_in_their_order() -> None:
    other = "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    half = "half0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n"
    table = HEAD + route("wlan0", 600) + other + route("down0", 1, flags="0002") + half + route("eth0", 100)
    assert default_links(table) == ["eth0", "wlan0"]
    assert default_links(table, IPV6_DEFAULT + IPV6_REJECT) == ["eth0", "wlan0", "eth9"]
    assert default_links("", IPV6_DEFAULT) == ["eth9"]
    assert default_links("\n\x00 garbage\n", "garbage 00\n") == []


@pytest.mark.parametrize("name", ["lo", "docker0", "veth1a2b", "br-12ab", "tun0", "wg0", "utun3", "virbr0"])
def test_links_to_containers_and_tunnels_lead_to_no_neighbours(name: str) -> None:
    assert not leads_to_neighbours(name)
    assert leads_to_neighbours("eth0")
