"""Where the client went."""

raise ImportError(
    "the Python client is a distribution of its own, ordermill-client: "
    "install that, and write `from ordermill_client import Client`"
)
