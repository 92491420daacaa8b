"""The links of this machine, and what they and its battery make of a node: read from the kernel, decided plainly.

A sharing cache is felt on Wi-Fi, on battery and on a modem. On a wire and on mains power nothing is held back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from p2pcdn.swarm.giving.manners import SLOTS, SLOTS_SPARING, Manners

SYSFS = Path("/sys")
# Under /proc/self, which a service sees that is shown processes only (systemd.exec(5), ProcSubset=).
ROUTES = Path("/proc/self/net/route")
ROUTES_IPV6 = Path("/proc/self/net/ipv6_route")

# Files of sysfs hold a word, the table of routes some lines.
_FILE_SIZE_BYTES_MAX = 1024 * 1024
_UP = 0x0001  # RTF_UP (route.h)
_REJECT = 0x0200  # RTF_REJECT

# Links that lead to containers, virtual machines and tunnels, not to neighbours.
_SKIPPED = re.compile(
    r"lo\d*|docker|veth|br-|virbr|vmnet|vboxnet|cni|flannel|cali|tun|tap|wg|utun|ipsec|ppp|tailscale|zt|ifb|dummy"
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What matters of a machine. wireless: its way to others is Wi-Fi. modem: it is a mobile network."""

    wireless: bool = False
    modem: bool = False
    on_battery: bool = False


def manners_of(machine: Machine, *, upload_limit_bytes_s: int = 0, metered: str = "auto") -> Manners:
    """How much such a machine gives. upload_limit_bytes_s: 0 is no limit. metered: "auto", "yes" or "no"."""
    limit = upload_limit_bytes_s or None
    if metered == "yes" or (metered == "auto" and machine.modem):
        return Manners(upload_limit_bytes_s=limit, slots=0, prefers_to_give=False)
    # On the air each byte between two neighbours takes its time twice, and a battery pays for it.
    sparing = machine.wireless or machine.on_battery
    return Manners(
        upload_limit_bytes_s=limit,
        slots=SLOTS_SPARING if sparing else SLOTS,
        prefers_to_give=not sparing,
        on_air=machine.wireless,
    )


def look(sysfs: Path = SYSFS, routes: Path = ROUTES, routes_ipv6: Path = ROUTES_IPV6) -> Machine:
    """This machine now; what cannot be read is taken for a machine on a wire and on mains power."""
    links = [sysfs / "class/net" / name for name in _ways_out(sysfs, routes, routes_ipv6)]
    return Machine(
        # A laptop in its dock has both; the kernel sends over the first.
        wireless=bool(links) and _is_wireless(links[0]),
        modem=bool(links) and _is_modem(links[0]),
        on_battery=_on_battery(sysfs / "class/power_supply"),
    )


def leads_to_neighbours(name: str) -> bool:
    """Whether a link of that name is one to other machines, and not to containers or through a tunnel."""
    return _SKIPPED.match(name) is None


def default_links(routes: str, routes_ipv6: str = "") -> list[str]:
    """The links of the default routes, the preferred first (proc(5), /proc/net/route and /proc/net/ipv6_route)."""
    found: list[tuple[int, str]] = []
    for line in routes.splitlines()[1:]:
        words = line.split()
        with suppress(ValueError):
            if len(words) >= 8 and words[1] == words[7] == "00000000" and int(words[3], 16) & _UP:
                found.append((int(words[6]), words[0]))
    for line in routes_ipv6.splitlines():
        words = line.split()
        with suppress(ValueError):
            if len(words) >= 10 and words[0] == "0" * 32 and words[1] == "00":
                flags = int(words[8], 16)
                if flags & _UP and not flags & _REJECT and words[9] != "lo":
                    found.append((int(words[5], 16), words[9]))
    return list(dict.fromkeys(name for _, name in sorted(found)))


def read_text(path: Path) -> str:
    """A file of the kernel's; "" where it is not there (not Linux, not mounted, the device is just being pulled)."""
    try:
        with path.open("rb") as file:
            return file.read(_FILE_SIZE_BYTES_MAX).decode("ascii", "replace")
    except OSError:
        return ""


def _ways_out(sysfs: Path, routes: Path, routes_ipv6: Path) -> list[str]:
    """Where the default routes go; behind a tunnel, or without any, the devices that are up, wires first."""
    links = [name for name in default_links(read_text(routes), read_text(routes_ipv6)) if leads_to_neighbours(name)]
    if links:
        return links
    devices = [
        path for path in _listed(sysfs / "class/net") if (path / "device").exists() and _word(path, "operstate") == "up"
    ]
    return [path.name for path in sorted(devices, key=lambda path: (_is_wireless(path), path.name))]


def _is_wireless(link: Path) -> bool:
    return (link / "wireless").exists() or (link / "phy80211").exists() or "DEVTYPE=wlan" in _word(link, "uevent")


def _is_modem(link: Path) -> bool:
    return "DEVTYPE=wwan" in _word(link, "uevent") or link.name.startswith("wwan")


def _on_battery(supplies: Path) -> bool:
    """A battery of the machine itself (a mouse has one too) runs down, and no plug gives power."""
    discharging = False
    for supply in _listed(supplies):
        if _word(supply, "scope") == "Device":
            continue
        if _word(supply, "type") in ("Mains", "USB") and _word(supply, "online") == "1":
            return False
        discharging |= _word(supply, "type") in ("Battery", "UPS") and _word(supply, "status") == "Discharging"
    return discharging


def _word(directory: Path, name: str) -> str:
    return read_text(directory / name).strip()


def _listed(directory: Path) -> Iterable[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []
