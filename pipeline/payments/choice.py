"""Which gateway a source's orders are paid at. Only at home is one assumed, and it moves no money."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.source import Policy

PLAY = "sandbox"


@dataclass(frozen=True, slots=True)
class GatewayChoice:
    """`is_home`: this is the embedded home, where orders are tried out; `has_live_key`: there is a
    key that moves real money."""

    is_home: bool = True
    has_live_key: bool = False

    def of(self, policy: Policy) -> str | None:
        """The gateway's name; None: orders wait until the policy names one."""
        if self.is_home:
            return policy.gateway or PLAY
        if policy.gateway == PLAY and self.has_live_key:
            return None
        return policy.gateway

    def lack(self, source: str, policy: Policy) -> str | None:
        """Why the source's orders can't be paid, in a sentence; None: they can."""
        if self.of(policy) is not None:
            return None
        if policy.gateway is None:
            return f"the source {source} names no gateway"
        return (
            f"the source {source} names the gateway {PLAY}, which moves no money, and there is a live "
            "key of stripe"
        )


AT_HOME = GatewayChoice()


def mend(source: str) -> str:
    """What whoever operates this does about it."""
    return f"`ordermill sources set {source} --set gateway=stripe` (or manual)"
