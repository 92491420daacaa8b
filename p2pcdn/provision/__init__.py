"""Environments made ready: what a lock chooses is fetched, unpacked and compiled once, and planned.

asked.py         what an environment is to be, and what it is when it is ready
wheels.py        a file of a lock becomes a tree of the store
unpacking.py     in processes of their own, where there are many
spoken.py        what such a process says, and a compiler
bytecode.py      a tree's byte code, by the interpreter that will run it (compile_script.py)
links.py         files of the store under their own names
located.py       where the paths of a lock begin
order.py         dependencies before what depends on them
environment.py   all of it for one environment, and the same again from memory
sites.py         whole site-packages to which an environment is one link
toolchain.py     the interpreter that builds, and environments of build requirements
building.py      sdists and source trees on their way into locks and environments
attested.py      who published the files of an environment, verified; provenance.py: as an index says it
direct.py        packages by direct URL; local.py: files of this machine that become blobs
repositories.py  commits of git repositories, each an archive of the store
foreign.py       builds in environments that somebody else keeps
workroom.py      all of these and the locker, wired to each other
"""

from p2pcdn.provision.asked import Asked, Ready
from p2pcdn.provision.bytecode import Bytecode
from p2pcdn.provision.direct import Terms
from p2pcdn.provision.environment import Provisioner
from p2pcdn.provision.foreign import ForeignBuilds, Job
from p2pcdn.provision.toolchain import Toolchain
from p2pcdn.provision.workroom import Bench, Named, OpenPages, Workroom

__all__ = [
    "Asked",
    "Bench",
    "Bytecode",
    "ForeignBuilds",
    "Job",
    "Named",
    "OpenPages",
    "Provisioner",
    "Ready",
    "Terms",
    "Toolchain",
    "Workroom",
]
