"""Ports: the wanted one, another where it is taken, and kept until the server listens."""

import socket

import pytest

from monitor.cli.up.processes import LOOPBACK, NEIGHBORS, ON_LINUX, CannotStart, hold


def test_a_taken_port_is_replaced_and_said() -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        taken = other.getsockname()[1]
        port = hold(taken)
    assert port.instead_of == taken
    assert 0 < port.number - taken <= NEIGHBORS, "next to the usual one"
    port.release()


def test_a_free_port_is_given() -> None:
    port = hold(0)
    port.release()
    again = hold(port.number)
    assert (again.number, again.instead_of) == (port.number, None)
    again.release()


@pytest.mark.skipif(not ON_LINUX, reason="this system cannot hold a port for a server")
def test_a_held_port_is_given_to_nobody_by_chance_and_to_its_server() -> None:
    port = hold(0)
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind((LOOPBACK, port.number))
    with socket.create_server((LOOPBACK, port.number)) as server:  # as asyncio: SO_REUSEADDR
        port.release()
        socket.create_connection(server.getsockname()).close()


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(CannotStart, match="port 70000 is none"):
        hold(70000)
