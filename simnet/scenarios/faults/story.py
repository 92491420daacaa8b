"""One seed told: the machines come up, users and faults go their ways, and in the end all is looked at."""

from __future__ import annotations

import shutil

import trio

from simnet.campaigns.outcome import Outcome
from simnet.campaigns.seeds import scratch
from simnet.marks import sometimes
from simnet.net.tcp import Factory
from simnet.patches import Patches
from simnet.scale import small_store
from simnet.scenarios.faults.checks import Checks
from simnet.scenarios.faults.injection import Injection
from simnet.scenarios.faults.log import listening
from simnet.scenarios.faults.users import Users
from simnet.scenarios.faults.world import HORIZON_S, World
from simnet.turns.kernel import Kernel

# Until then nodes find each other.
DAWN_S = 1.5
# After the last fault has ended. The watchdogs: 30 s for an upstream that fell silent, some tries with their pauses.
LIVENESS_S = 120.0

MARKS = (
    "a power cut",
    "a kill",
    "whoever read the upstream died",
    "a peer lied",
    "a peer fell silent",
    "a piece was refused",
    "a peer was struck",
    "bytes came from a peer",
    "an interrupted download was there after a restart",
    "a client was refused and came again",
    "a body was broken off",
    "a store stopped writing",
    "the upstream was asked for a range",
    "a file passed through unkept",
    "rot was found by the scrub",
    "a seed without faults",
    "nodes of a group",
    "names were looked up in vain",
    "the disk could not read",
    # Of the wires below:
    "bytes had to be sent again",
    "a machine that came back knew nothing of a connection",
)


def run(seed: int) -> Outcome:
    """One seed."""
    directory = scratch()
    kernel, patches = Kernel(), Patches()
    patches.apply(kernel, f"faults {seed}")
    try:
        with small_store():
            world = World(seed, directory, kernel)
            with listening(world):
                trio.run(_tell, world, patches, clock=kernel.clock)
        return Outcome(world.failures, kernel.digest())
    finally:
        patches.undo()
        shutil.rmtree(directory)


async def _tell(world: World, patches: Patches) -> None:
    trio.socket.set_custom_socket_factory(Factory(world.net))
    trio.socket.set_custom_hostname_resolver(world.net.dns)
    patches.close_doors()
    checks = Checks(world)
    world.build(checks.at_start)
    sometimes("a seed without faults", not world.faults)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.upstream.run)
        async with trio.open_nursery() as world.nursery:
            for node in world.nodes:
                node.start()
            for node in world.nodes:
                await node.ready()
            await trio.sleep(DAWN_S)
            with trio.move_on_after(world.healed_at + HORIZON_S + LIVENESS_S) as hanging:
                async with trio.open_nursery() as days:
                    Injection(world).begin(days)
                    Users(world).begin(days)
            if hanging.cancelled_caught:
                world.fail(f"not all was done {LIVENESS_S:g} s after everything had healed")
            checks.at_the_end()
            if world.failures:
                world.nursery.cancel_scope.cancel()
            for node in world.nodes:
                await node.stop()
        nursery.cancel_scope.cancel()
