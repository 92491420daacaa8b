"""The simulated wires: what TCP promises, what it does not, and how long things take."""

from __future__ import annotations

import errno
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio

from p2pcdn_daemon.doors.network import TcpNetwork
from simnet.net.host import HERE, Host
from simnet.net.link import GIGABIT
from simnet.net.network import WAKE_BYTES, Net
from simnet.simulation import Simulation
from tests.contract.network import check_network

MIB = 1024 * 1024
Serve = Callable[[trio.SocketStream], Awaitable[None]]


class Wires:
    """A few hosts, servers on them, and a story."""

    def __init__(self, *names: str, seed: int = 1, scale: int = 1) -> None:
        self.simulation = Simulation(seed, scale=scale, bulk_from_bytes=4096, time_max_s=1000.0)
        self.net: Net = self.simulation.net
        self.hosts = [self.net.add_host(name) for name in names]

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        self.simulation.run(story)

    async def serve(self, host: Host, serve: Serve, *, port: int = 80) -> None:
        async def listen(*, task_status: trio.TaskStatus[None]) -> None:
            HERE.set(host)
            await trio.serve_tcp(serve, port, host="0.0.0.0", task_status=task_status)

        await self.simulation.nursery.start(listen)


async def echo(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        async for part in stream:
            await stream.send_all(part)


async def swallow(stream: trio.SocketStream) -> None:
    async for _ in stream:
        pass


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def connect(host: Host, port: int = 80) -> trio.SocketStream:
    stream = await TcpNetwork().connect(host.ip, port)
    assert isinstance(stream, trio.SocketStream)
    return stream


def now() -> float:
    return trio.current_time()


def test_it_keeps_the_contract_of_a_network_between_hosts_and_on_loopback() -> None:
    wires = Wires("a", "b")
    a, b = wires.hosts

    async def story() -> None:
        await wires.serve(b, echo)
        HERE.set(a)
        await check_network(TcpNetwork(), b.ip, 80, 81)
        await check_network(TcpNetwork(), "b", 80, 81)
        HERE.set(b)
        await check_network(TcpNetwork(), "127.0.0.1", 80, 81)

    wires.run(story)


@pytest.mark.parametrize("local", [False, True], ids=["wire", "loopback"])
def test_its_bytes_come_once_and_in_their_order_whatever_the_sizes(local: bool) -> None:
    wires = Wires("a", "b", scale=8)
    a, b = wires.hosts
    dice = wires.simulation.dice
    sent = dice.randbytes(3 * MIB)
    received = bytearray()

    async def take(stream: trio.SocketStream) -> None:
        while part := await stream.receive_some(dice.randint(1, 70_000)):
            received.extend(part)
            if dice.random() < 0.1:
                await trio.sleep(dice.uniform(0, 0.01))

    async def story() -> None:
        await wires.serve(b, take)
        HERE.set(b if local else a)
        stream = await connect(b)
        at = 0
        while at < len(sent):
            size = dice.choice([1, 100, 3000, 5000, 65536, 300_000])
            await stream.send_all(sent[at : at + size])
            at += size
        await stream.send_eof()
        assert await stream.receive_some() == b""
        await trio.sleep(1)

    wires.run(story)
    assert bytes(received) == sent


def test_a_wire_takes_the_time_of_its_rate_and_both_ends_work_at_once() -> None:
    wires = Wires("a", "b")
    a, b = wires.hosts
    size = 100 * MIB
    took: list[float] = []

    async def take(stream: trio.SocketStream) -> None:
        began = now()
        async for _ in stream:
            pass
        took.append(now() - began)

    async def story() -> None:
        await wires.serve(b, take)
        HERE.set(a)
        for rate in (GIGABIT, GIGABIT / 4):
            b.down.rate = rate
            stream = await connect(b)
            await stream.send_all(bytes(size))
            await stream.aclose()
            await trio.sleep(4)

    wires.run(story)
    assert took[0] == pytest.approx(size / GIGABIT, rel=0.01)
    assert took[1] == pytest.approx(4 * size / GIGABIT, rel=0.01)


def test_a_long_line_is_full_from_end_to_end() -> None:
    wires = Wires("a", "b")
    a, b = wires.hosts
    a.latency_s = 0.02
    size = 100 * MIB

    async def story() -> None:
        await wires.serve(b, swallow)
        HERE.set(a)
        began = now()
        stream = await connect(b)
        await stream.send_all(bytes(size))
        await stream.send_eof()
        await stream.receive_some()
        assert now() - began == pytest.approx(size / GIGABIT + 0.08, rel=0.01)

    wires.run(story)


def test_connections_share_a_wire_in_equal_parts() -> None:
    wires = Wires("a", "b", "c", "d")
    a, *others = wires.hosts
    done: dict[str, float] = {}

    async def send(host: Host, size: int) -> None:
        HERE.set(a)
        stream = await connect(host)
        began = now()
        await stream.send_all(bytes(size))
        await stream.send_eof()
        await stream.receive_some()
        done[host.name] = now() - began

    async def story() -> None:
        for host in others:
            await wires.serve(host, swallow)
        async with trio.open_nursery() as nursery:
            for host, mib in zip(others, (10, 10, 40), strict=True):
                nursery.start_soon(send, host, mib * MIB)

    wires.run(story)
    third = 30 * MIB / GIGABIT
    assert done["b"] == pytest.approx(third, rel=0.03)
    assert done["c"] == pytest.approx(third, rel=0.03)
    assert done["d"] == pytest.approx(60 * MIB / GIGABIT, rel=0.03)


def test_many_senders_fill_one_receiver_and_something_small_slips_in_between() -> None:
    wires = Wires("a", *(f"s{number}" for number in range(5)))
    a, *senders = wires.hosts
    answers: list[float] = []

    async def send(host: Host) -> None:
        HERE.set(host)
        stream = await connect(a)
        await stream.send_all(bytes(20 * MIB))
        await stream.send_eof()
        await stream.receive_some()

    async def ping() -> None:
        HERE.set(senders[0])
        stream = await connect(a, 81)
        for _ in range(20):
            began = now()
            await stream.send_all(b"?")
            await stream.receive_some()
            answers.append(now() - began)
            await trio.sleep(0.02)

    async def story() -> None:
        await wires.serve(a, swallow)
        await wires.serve(a, echo, port=81)
        began = now()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            for host in senders:
                nursery.start_soon(send, host)
        assert now() - began == pytest.approx(100 * MIB / GIGABIT, rel=0.03)

    wires.run(story)
    assert max(answers) < 0.001


def test_who_does_not_read_stops_who_writes() -> None:
    wires = Wires("a", "b")
    a, b = wires.hosts

    async def story() -> None:
        await wires.serve(b, silent)
        for host in (a, b):
            HERE.set(host)
            stream = await connect(b)
            sent = 0
            with trio.move_on_after(30):
                while True:
                    await stream.send_all(bytes(100_000))
                    sent += 100_000
            assert wires.net.window_bytes / 2 < sent < 2 * wires.net.window_bytes

    wires.run(story)


def test_who_wants_many_bytes_is_woken_for_many_and_for_the_end() -> None:
    wires = Wires("a", "b")
    a, b = wires.hosts
    came: list[tuple[int, float]] = []

    async def give(stream: trio.SocketStream) -> None:
        for size in (1000, 5000, 4000, 10):
            await stream.send_all(bytes(size))
            await trio.sleep(1)

    async def story() -> None:
        await wires.serve(b, give)
        HERE.set(a)
        stream = await connect(b)
        stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVLOWAT, 9000)
        began = trio.current_time()
        while content := await stream.receive_some(MIB):
            came.append((len(content), round(trio.current_time() - began)))

    wires.run(story)
    assert came == [(10_000, 2), (10, 4)]


def test_a_send_that_is_cancelled_leaves_no_more_than_a_buffer_behind() -> None:
    wires = Wires("a", "b")
    a, b = wires.hosts
    received = 0

    async def take(stream: trio.SocketStream) -> None:
        nonlocal received
        async for part in stream:
            received += len(part)

    async def story() -> None:
        await wires.serve(b, take)
        HERE.set(a)
        stream = await connect(b)
        with trio.move_on_after(0.1):
            await stream.send_all(bytes(100 * MIB))
        await trio.aclose_forcefully(stream)
        await trio.sleep(1)

    wires.run(story)
    assert 0.1 * GIGABIT * 0.9 < received < 0.1 * GIGABIT + MIB


def test_nobody_listens_refuses_and_nobody_there_times_out() -> None:
    wires = Wires("a", "b", "c")
    a, b, c = wires.hosts

    async def story() -> None:
        HERE.set(a)
        began = now()
        with pytest.raises(ConnectionRefusedError):
            await connect(b)
        assert now() - began < 0.001
        wires.net.power_off(c)
        for ip in (c.ip, "192.0.2.77"):
            began = now()
            with pytest.raises(OSError) as caught:
                await TcpNetwork().connect(ip, 80)
            assert caught.value.errno == errno.ETIMEDOUT
            assert 120 < now() - began < 130
        with pytest.raises(trio.socket.gaierror):
            await TcpNetwork().connect("nobody.example", 80)

    wires.run(story)


def test_a_port_has_one_listener_and_is_free_after_it() -> None:
    wires = Wires("a")

    async def story() -> None:
        HERE.set(wires.hosts[0])
        first = trio.socket.socket()
        await first.bind(("0.0.0.0", 80))
        first.listen()
        second = trio.socket.socket()
        with pytest.raises(OSError) as caught:
            await second.bind(("127.0.0.1", 80))
        assert caught.value.errno == errno.EADDRINUSE
        first.close()
        await second.bind(("127.0.0.1", 80))
        with pytest.raises(OSError) as caught:
            await trio.socket.socket().bind(("10.9.9.9", 80))
        assert caught.value.errno == errno.EADDRNOTAVAIL

    wires.run(story)


def test_closing_with_bytes_unread_resets_the_other_end() -> None:
    wires = Wires("a", "b")
    a, b = wires.hosts

    async def rude(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)

    async def story() -> None:
        await wires.serve(b, rude)
        HERE.set(a)
        stream = await connect(b)
        await stream.send_all(b"two")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"more")

    wires.run(story)


def test_writing_to_who_has_closed_is_answered_by_a_reset() -> None:
    wires = Wires("a", "b")
    a, b = wires.hosts

    async def brief(stream: trio.SocketStream) -> None:
        await stream.send_all(b"goodbye")

    async def story() -> None:
        await wires.serve(b, brief)
        HERE.set(a)
        stream = await connect(b)
        assert await stream.receive_some() == b"goodbye"
        assert await stream.receive_some() == b""
        await stream.send_all(b"wait")
        await trio.sleep(0.01)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"wait!")

    wires.run(story)


def test_a_cut_wire_holds_bytes_for_seconds_and_breaks_the_connection_after_minutes() -> None:
    wires = Wires("a", "b")
    a, b = wires.hosts

    async def story() -> None:
        await wires.serve(b, echo)
        HERE.set(a)
        stream = await connect(b)
        wires.net.cut([a], [b])
        began = now()
        await stream.send_all(b"hello")
        wires.simulation.kernel.after(4.0, wires.net.heal)
        assert await stream.receive_some() == b"hello"
        assert 4.0 < now() - began < 8.0

        wires.net.cut([a], [b])
        await stream.send_all(b"hello")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, TimeoutError)
        assert 60 < now() - began < 300

    wires.run(story)


def test_a_cut_in_one_direction_lets_the_other_through() -> None:
    wires = Wires("a", "b")
    a, b = wires.hosts
    heard: list[bytes] = []

    async def hear(stream: trio.SocketStream) -> None:
        try:
            async for part in stream:
                heard.append(part)
        except trio.BrokenResourceError:
            pass

    async def story() -> None:
        await wires.serve(b, hear)
        HERE.set(a)
        stream = await connect(b)
        wires.net.cut([b], [a], one_way=True)
        await stream.send_all(b"hello")
        await trio.sleep(1)
        assert heard == [b"hello"]
        with trio.move_on_after(5):
            assert await stream.receive_some()
        with trio.move_on_after(5) as scope:
            await connect(b)
        assert scope.cancelled_caught, "the answer to a SYN does not come back"

    wires.run(story)


def test_a_machine_that_came_back_knows_nothing_of_its_connections() -> None:
    wires = Wires("a", "b")
    a, b = wires.hosts

    async def story() -> None:
        await wires.serve(b, echo)
        HERE.set(a)
        stream = await connect(b)
        wires.net.power_off(b)
        await stream.send_all(b"hello")  # nobody has told us
        await trio.sleep(1)
        wires.net.power_on(b)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        with pytest.raises(ConnectionRefusedError):
            await connect(b)

    wires.run(story)


def test_a_clogged_wire_loses_nothing() -> None:
    wires = Wires("a", "b")
    a, b = wires.hosts
    came: list[float] = []

    async def take(stream: trio.SocketStream) -> None:
        size = 0
        async for part in stream:
            size += len(part)
        assert size == 10 * MIB
        came.append(now())

    async def story() -> None:
        await wires.serve(b, take)
        HERE.set(a)
        stream = await connect(b)
        began = now()
        kernel = wires.simulation.kernel
        for link, at in ((a.up, 0.01), (b.down, 0.03)):
            kernel.after(at, link.clog)
            kernel.after(at + 3.0, link.unclog)
        await stream.send_all(bytes(10 * MIB))
        await stream.aclose()
        await trio.sleep(10)
        assert 3.0 < came[0] - began < 3.5

    wires.run(story)


def test_losses_and_jitter_cost_time_and_no_bytes() -> None:
    wires = Wires("a", "b")
    a, b = wires.hosts
    wires.net.weather.loss = 0.05
    wires.net.weather.jitter_s = 0.003
    sent = wires.simulation.dice.randbytes(5 * MIB)
    received = bytearray()

    async def take(stream: trio.SocketStream) -> None:
        async for part in stream:
            received.extend(part)

    async def story() -> None:
        await wires.serve(b, take)
        HERE.set(a)
        while True:
            with trio.move_on_after(20):
                stream = await connect(b)
                break
        for at in range(0, len(sent), 50_000):
            await stream.send_all(sent[at : at + 50_000])
        await stream.aclose()
        await trio.sleep(60)

    wires.run(story)
    assert bytes(received) == sent


def test_two_in_one_room_of_air_take_it_twice() -> None:
    simulation = Simulation(1)
    net = simulation.net
    air = net.link("air", GIGABIT / 5, shared=True)
    laptops = [net.add_host(f"laptop-{number}", up=air, down=air) for number in range(2)]
    wired = net.add_host("wired")
    size = 10 * MIB
    took: list[float] = []

    async def send(sender: Host, receiver: Host, port: int) -> None:
        async def listen(*, task_status: trio.TaskStatus[None]) -> None:
            HERE.set(receiver)
            await trio.serve_tcp(swallow, port, host="0.0.0.0", task_status=task_status)

        await simulation.nursery.start(listen)
        HERE.set(sender)
        began = now()
        stream = await connect(receiver, port)
        await stream.send_all(bytes(size))
        await stream.send_eof()
        await stream.receive_some()
        took.append(now() - began)

    async def story() -> None:
        await send(laptops[0], laptops[1], 80)
        await send(wired, laptops[1], 81)
        await send(laptops[1], wired, 82)

    simulation.run(story)
    once = size / (GIGABIT / 5)
    assert took == pytest.approx([2 * once, once, once], rel=0.05)


def test_what_comes_from_outside_takes_its_turn_in_the_air() -> None:
    """Of three that send at once each has its share, whoever stands behind the access point."""
    simulation = Simulation(1)
    net = simulation.net
    air = net.link("air", GIGABIT / 5, shared=True)
    laptops = [net.add_host(f"laptop-{number}", up=air, down=air) for number in range(3)]
    wired = net.add_host("wired")
    took: dict[str, float] = {}

    async def send(sender: Host, receiver: Host) -> None:
        HERE.set(sender)
        began = now()
        stream = await connect(receiver, 80)
        await stream.send_all(bytes(10 * MIB))
        await stream.send_eof()
        await stream.receive_some()
        took[sender.name] = now() - began

    async def story() -> None:
        async with trio.open_nursery() as nursery:
            for receiver in (laptops[1], laptops[2], wired):

                async def listen(host: Host = receiver, *, task_status: trio.TaskStatus[None]) -> None:
                    HERE.set(host)
                    await trio.serve_tcp(swallow, 80, host="0.0.0.0", task_status=task_status)

                await simulation.nursery.start(listen)
            for sender, receiver in ((wired, laptops[1]), (laptops[0], laptops[2]), (laptops[1], wired)):
                nursery.start_soon(send, sender, receiver)

    simulation.run(story)
    once = 10 * MIB / (GIGABIT / 5)
    # In each turn: once, twice and once; when the single ones are done the other has two halves more.
    assert took == pytest.approx({"wired": 4 * once, "laptop-1": 4 * once, "laptop-0": 4 * once}, rel=0.06)


def test_weights_make_small_pieces_heavy_and_leave_heads_light() -> None:
    wires = Wires("a", "b", scale=32)
    a, b = wires.hosts

    async def story() -> None:
        await wires.serve(b, echo)
        HERE.set(a)
        stream = await connect(b)
        for size, wire_bytes in ((200, 200), (32 * 1024, MIB)):
            began = now()
            await stream.send_all(bytes(size))
            got = 0
            while got < size:
                got += len(await stream.receive_some())
            # The other end echoes as it reads, in parts of WAKE_BYTES.
            on_the_wire_s = (wire_bytes + min(wire_bytes, WAKE_BYTES)) / GIGABIT
            assert now() - began == pytest.approx(on_the_wire_s + 4 * 0.1e-3, rel=0.15)

    wires.run(story)
    assert math.isclose(a.up.bytes_carried, b.down.bytes_carried)
