"""Loopback ports."""

import socket
from typing import Final

from schemas.errors import UserError

LOOPBACK: Final = "127.0.0.1"


def free_port() -> int:
    """A port that nothing listens on now. Another program may take it before its user does: be ready to try again."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int, purpose: str) -> int:
    """`port`, or UserError where something listens on it already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free to a server
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise UserError(
                f"Port {port}, asked for {purpose}, cannot be used ({error.strerror}): "
                "stop the program that listens on it, or choose another port."
            ) from error
    return port
