"""Files and folders at an address: a local path, or anything with "://" that fsspec knows (s3, gs, hdfs, https, …).

fsspec and the package of a protocol are imported only for addresses that need them. Every failure is a UserError that
names the address without its user, password and query, which may be secrets.
"""

import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from schemas.errors import UserError

_PARTIAL: Final = ".partial-"
Result = TypeVar("Result")


def is_remote(address: str) -> bool:
    return "://" in address


def join(address: str, *names: str) -> str:
    """The address of something in a folder."""
    return "/".join((address.rstrip("/"), *names))


def shown(address: str) -> str:
    """The address as a message may show it."""
    if not is_remote(address):
        return address
    return re.sub(r"(://)[^/]*@", r"\1", address).partition("?")[0]


def read_bytes(address: str) -> bytes:
    """The whole file. Raises UserError where it is not there or cannot be read."""
    return _tried("read", address, _read)


def write_bytes(address: str, data: bytes) -> None:
    """Write under a temporary name beside it, then move: a reader finds the old file, the new one or none, never half.

    None only at a remote address, for the moment between the old one and the new. Makes the folders that are missing.
    Raises UserError where that fails (a full disk, say); nothing is left then.
    """
    _tried("write", address, lambda place: _write(place, data))


def exists(address: str) -> bool:
    return _tried("look at", address, _exists)


def names_in(address: str) -> list[str]:
    """The names of files and folders in a folder, sorted; none where there is no such folder."""
    return _tried("list", address, _names)


def _read(address: str) -> bytes:
    if not is_remote(address):
        return Path(address).read_bytes()
    system, path = _filesystem(address)
    data: bytes = system.cat_file(path)
    return data


def _write(address: str, data: bytes) -> None:
    partial = f"{_PARTIAL}{uuid.uuid4().hex}"
    if not is_remote(address):
        path = Path(address)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(partial)
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        return
    system, remote = _filesystem(address)
    folder = remote.rpartition("/")[0]
    system.makedirs(folder, exist_ok=True)
    temporary = f"{folder}/{partial}"
    try:
        system.pipe_file(temporary, data)
        if system.exists(remote):  # not every file system moves onto a file that is there
            system.rm_file(remote)
        system.mv(temporary, remote)
    except BaseException:
        if system.exists(temporary):
            system.rm_file(temporary)
        raise


def _exists(address: str) -> bool:
    if not is_remote(address):
        return Path(address).exists()
    system, path = _filesystem(address)
    return bool(system.exists(path))


def _names(address: str) -> list[str]:
    if not is_remote(address):
        folder = Path(address)
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    system, path = _filesystem(address)
    system.invalidate_cache()
    if not system.isdir(path):
        return []
    return sorted(str(each).rstrip("/").rpartition("/")[2] for each in system.ls(path, detail=False))


def _filesystem(address: str) -> tuple[Any, str]:
    """The file system of fsspec for the address, and the path on it."""
    protocol = address.partition("://")[0].rpartition("::")[2]
    try:
        import fsspec
        from fsspec.registry import known_implementations
    except ImportError as error:
        raise UserError(f"{protocol}:// addresses need the package fsspec: install smsift[train].") from error
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(address)
    except ImportError as error:
        package = known_implementations.get(protocol, {}).get("class", "").partition(".")[0]
        cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        missing = package if package not in {"", "fsspec"} else cause.name or protocol
        raise UserError(f"{protocol}:// addresses need the package {missing}: install it beside smsift.") from error
    except ValueError as error:
        raise UserError(f"Nothing is known of {protocol}:// addresses: is the protocol spelt right?") from error
    return found


def _tried(verb: str, address: str, act: Callable[[str], Result]) -> Result:
    try:
        return act(address)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"There is no {shown(address)}: check the address.") from error
    except Exception as error:  # each protocol's client fails with types of its own
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"Cannot {verb} {shown(address)}: {error.strerror}.") from error
        advice = "check the address and what gives access to it"
        if address.startswith("hdfs://"):
            advice += "; hdfs needs Java and Hadoop's libhdfs here, webhdfs needs neither"
        raise UserError(f"Cannot {verb} {shown(address)} ({type(error).__name__}): {advice}.") from error
