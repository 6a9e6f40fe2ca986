"""The suite for transports."""

from __future__ import annotations

from ._transport_cases import AcceptedCases, CarryingCases, ClosingCases, ClusterCases, PeerCases

__all__ = ["TransportConformance"]


# pytest runs the cases of the last base first: what is simple before what rests on it, so that the first failure of a report is
# the one to look at.
class TransportConformance(ClusterCases, ClosingCases, PeerCases, CarryingCases, AcceptedCases):
    """What a transport promises, case by case: derive a test class from it and say how yours is made.

        class TestMine(TransportConformance):
            def make(self, node_id: int, address: str) -> MyTransport:
                return MyTransport()

    `make(node_id, address)` returns the transport of one node, not started; the others will know that node by `address`. What the
    transports of a case share, such as a network in memory, may be kept in `self`: each case has an object of its own.

    Optional:

    * `address(node_id)`: where a node will be reached; the default is a free port of the loopback interface. It is asked once for each place of
      a node, also for nodes that never start.
    * `ordered = False` for a transport that does not keep the order of frames of one lane.
    * `patience` (30 s): how long a frame may take that is sent again and again. `limit` (5 s): what counts as at once.
    """
