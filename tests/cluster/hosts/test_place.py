"""What a place holds of its host, without Ray: its port and its CPUs."""

import socket
import sys

import pytest

from benchmarks.cluster.place import Place


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody could listen there")
def test_the_port_of_a_place_is_given_to_nobody_else_before_its_framework_listens() -> None:
    place = Place()
    host, port = place.free_address("127.0.0.1").split(":")
    address = host, int(port)
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(address)
    with socket.socket() as client, pytest.raises(OSError, match="refused"):
        client.connect(address)
    with socket.create_server(address) as framework:  # With SO_REUSEADDR.
        socket.create_connection(address, timeout=5).close()
        framework.accept()[0].close()
