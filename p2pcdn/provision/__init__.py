"""Environments made ready: what a lock chooses is fetched, unpacked and compiled once, and planned.

wheels.py        a file of a lock becomes a tree of the store
bytecode.py      a tree's byte code, by the interpreter that will run it (compile_script.py)
order.py         dependencies before what depends on them
environment.py   all of it for one environment, and the same again from memory
"""

from p2pcdn.provision.bytecode import Bytecode, Compiler
from p2pcdn.provision.environment import Asked, Provisioner, Ready, Told
from p2pcdn.provision.wheels import Wheels

__all__ = ["Asked", "Bytecode", "Compiler", "Provisioner", "Ready", "Told", "Wheels"]
