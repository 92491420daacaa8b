"""What a node knows of itself from start to start: its name, its device key, the secret path of its private indexes."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from p2pcdn.errors import StoreUnusable
from p2pcdn.group import Device
from p2pcdn.group.device import SEED_SIZE_BYTES

NODE_ID_BITS = 128
TOKEN_BITS = 256
# The files hold one short line; more is not ours.
_SIZE_BYTES_MAX = 256
_NODE_ID = re.compile(r"[0-9a-f]{32}")
_SEED = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,128}")


def node_id(store: Path) -> str:
    """32 hexadecimal digits, random, kept in the store. They say nothing of the machine. Raises StoreUnusable."""
    return _kept(store / "node_id", _NODE_ID, secrets.token_hex(NODE_ID_BITS // 8))


def device(store: Path) -> Device:
    """The key that this node signs with and proves itself by, drawn at its first start. Raises StoreUnusable."""
    line = _kept(store / "device_key", _SEED, secrets.token_hex(SEED_SIZE_BYTES))
    return Device.from_seed(bytes.fromhex(line))


def token(store: Path) -> str:
    """Who knows it may use the indexes with credentials through this node. Raises StoreUnusable."""
    return _kept(store / "token", _TOKEN, secrets.token_urlsafe(TOKEN_BITS // 8))


def _kept(path: Path, form: re.Pattern[str], new: str) -> str:
    """The line in the file, or `new` kept in it with mode 0600 where there is none that could be ours."""
    beside = path.with_name(path.name + ".new")
    try:
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
                line = file.read(_SIZE_BYTES_MAX).strip()
            if form.fullmatch(line):
                return line
        with suppress(FileNotFoundError):
            beside.unlink()
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(new + "\n")
            file.flush()
            os.fsync(descriptor)
        beside.rename(path)
    except OSError as error:
        raise StoreUnusable(f"{path} in the store cannot be read and written: {error.strerror}.") from error
    return new
